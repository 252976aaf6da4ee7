//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use atomkv_engine::Encoding;
use clap::{Args, Parser, Subcommand, ValueEnum};

const LITERALS: &str = "\
Keys and values are text, or one of:
  0x00ff       bytes in hexadecimal
  b64:AP8=     bytes in base64
  @FILE        the contents of a file
  text:0x00    the text after text:, whatever it is
  -            standard input (values only)";

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    not there: a key, a version, a table, a database, a file
  2    wrong usage
  3    conflict: a condition was not met
  4    not possible now: locked, not writable, no space, not reachable
  5    stored data is damaged
  6    a script has failed, or ended inside a transaction; or a record of an input is malformed
  70   a defect in AtomKV
  130  Ctrl-C";

/// AtomKV, an embedded key-value database: its command line.
///
/// With a database alone, opens a session; with a verb, does one thing. A database is a directory, or a service by its
/// address: http://127.0.0.1:7070.
#[derive(Debug, Parser)]
#[command(name = "atomkv", version, max_term_width = 100)]
#[command(after_help = format!("{EXIT_CODES}\n
Examples:
  atomkv data                                   a session
  atomkv data load.atom                         runs a script; also: atomkv data < load.atom
  atomkv data -e 'table users' -e 'scan user:'  runs lines of the session
  atomkv put data users ada '{{\"born\":1815}}'
  atomkv get data users ada | jq .born
  atomkv get http://127.0.0.1:7070 users ada    the same of a service
  atomkv help put                               a verb with its options and examples"))]
pub struct Arguments {
    /// How output looks.
    #[command(flatten)]
    pub look: LookArguments,
    /// What a session opens.
    #[command(flatten)]
    pub session: SessionArguments,
    /// How a service is reached.
    #[command(flatten)]
    pub service: ServiceArguments,
    /// One thing to do.
    #[command(subcommand)]
    pub verb: Option<Verb>,
}

/// How output looks.
#[derive(Args, Clone, Copy, Debug)]
pub struct LookArguments {
    /// JSON on standard output: one object, or one a line
    #[arg(long, global = true)]
    pub json: bool,
    /// No confirmations, notes and progress
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// No colours; so does the variable NO_COLOR
    #[arg(long, global = true)]
    pub no_color: bool,
}

/// How a service is reached.
#[derive(Args, Clone)]
#[command(next_help_heading = "Options for the address of a service")]
pub struct ServiceArguments {
    /// The token; better the variable ATOMKV_TOKEN or --token-file, which other users of the machine do not see
    // A token may begin with a hyphen, as one of 64 in base64url does.
    #[arg(long, global = true, value_name = "TOKEN", allow_hyphen_values = true)]
    pub token: Option<String>,
    /// A file with the token
    #[arg(long, global = true, value_name = "FILE", conflicts_with = "token")]
    pub token_file: Option<PathBuf>,
    /// A file in PEM with the certificates to trust, instead of those of the system
    #[arg(long, global = true, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
    /// How long to wait for a service that says nothing
    #[arg(long, global = true, value_name = "TIME", default_value = "60s")]
    pub timeout: String,
}

impl std::fmt::Debug for ServiceArguments {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Without the token.
        f.debug_struct("ServiceArguments").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}

/// What a session opens and runs.
#[derive(Args, Debug)]
pub struct SessionArguments {
    /// The directory of the database, which is made if it is missing; or the address of a service
    pub db: Option<PathBuf>,
    /// A script to run instead of a session; - for standard input
    pub script: Option<PathBuf>,
    /// Runs this line, and those given before, instead of a session
    #[arg(long, short = 'e', value_name = "LINE")]
    pub execute: Vec<String>,
    /// Opens the database beside a process that writes it; nothing can be written
    #[arg(long)]
    pub read_only: bool,
    /// The most operations that one line or script may take; 0 for no limit
    #[arg(long, value_name = "N", default_value_t = 1_000_000_000)]
    pub operations: u64,
}

/// A table of a database.
#[derive(Args, Debug)]
pub struct Place {
    /// The directory of the database, or the address of a service
    pub db: PathBuf,
    /// The table
    pub table: String,
}

/// A key of a table.
#[derive(Args, Debug)]
pub struct Target {
    /// The table.
    #[command(flatten)]
    pub place: Place,
    /// The key: text, 0x…, b64:…, @FILE or text:…
    pub key: OsString,
}

/// What must be there for a write to happen.
#[derive(Args, Clone, Debug)]
#[group(multiple = false)]
pub struct Condition {
    /// Only if the key has this version
    #[arg(long, value_name = "N")]
    pub if_version: Option<u64>,
    /// Only if the key is as the commit with this sequence has written it
    #[arg(long, value_name = "N")]
    pub if_sequence: Option<u64>,
    /// Only if the key is not there
    #[arg(long)]
    pub if_absent: bool,
    /// Only if the key is there
    #[arg(long)]
    pub if_present: bool,
}

/// Which keys of a table.
#[derive(Args, Debug)]
pub struct RangeArguments {
    /// Only keys that begin so
    pub prefix: Option<OsString>,
    /// From this key on, itself included
    #[arg(long, value_name = "KEY")]
    pub from: Option<OsString>,
    /// Up to this key, itself not included
    #[arg(long, value_name = "KEY")]
    pub to: Option<OsString>,
    /// No more than so many
    #[arg(long, short = 'n', value_name = "N")]
    pub limit: Option<u64>,
    /// From the last key to the first; of ordered tables
    #[arg(long)]
    pub reverse: bool,
    /// Only keys in which this occurs
    #[arg(long, value_name = "BYTES")]
    pub contains: Option<OsString>,
    /// Only keys that match as a whole: *, ?, [a-c]
    #[arg(long, value_name = "PATTERN")]
    pub glob: Option<OsString>,
}

/// How a new table is made.
#[derive(Args, Clone, Debug)]
pub struct SettingsArguments {
    /// Scans come in the order of the keys
    #[arg(long)]
    pub ordered: bool,
    /// Keeps old versions: a number of them, a time such as 7d, or all
    #[arg(long, value_name = "HOW")]
    pub keep: Option<String>,
    /// Documents expire so long after they were written, such as 30s or 12h
    #[arg(long, value_name = "TIME")]
    pub ttl: Option<String>,
    /// The number of partitions, 1 to 16384
    #[arg(long, value_name = "N")]
    pub partitions: Option<u32>,
    /// Each write is on stable storage when it returns
    #[arg(long)]
    pub sync: bool,
}

/// The formats of imports and exports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FileFormat {
    /// JSON Lines
    Jsonl,
    /// CSV with a header
    Csv,
    /// AtomKV's own, exact and checksummed
    Dump,
}

/// How keys and values stand in a text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum TextEncoding {
    /// Each as it can be, with a mark: text, or base64 of other bytes
    Auto,
    /// Text; other bytes are an error
    Text,
    /// Two hexadecimal digits a byte
    Hex,
    /// Base64
    Base64,
    /// Values as JSON, in JSON Lines; other values are an error
    Json,
}

impl From<TextEncoding> for Encoding {
    fn from(asked: TextEncoding) -> Encoding {
        match asked {
            TextEncoding::Auto => Encoding::Auto,
            TextEncoding::Text => Encoding::Text,
            TextEncoding::Hex => Encoding::Hex,
            TextEncoding::Base64 => Encoding::Base64,
            TextEncoding::Json => Encoding::Json,
        }
    }
}

/// What an import does with keys that are there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Existing {
    /// Takes their place
    Replace,
    /// Leaves them
    Skip,
    /// Ends the import
    Fail,
}

/// One thing to do.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Writes a value to standard output, exactly as it is
    ///
    /// Into a pipe or a file go the bytes of the value and nothing else, not even a line break. On a terminal JSON is
    /// indented, other text escaped where a terminal would obey it, and anything else is a hex dump.
    #[command(after_help = format!("{LITERALS}\n
Examples:
  atomkv get data users ada
  atomkv get data photos 0x00ff > photo.jpg
  atomkv get --json data users ada     with its version and times
  atomkv get data users ada --version 3"))]
    Get {
        /// The key.
        #[command(flatten)]
        target: Target,
        /// The version with this number, if the table keeps it
        #[arg(long, value_name = "N")]
        version: Option<u64>,
        /// As it was after the commit with this sequence
        #[arg(long, value_name = "SEQUENCE", conflicts_with = "version")]
        at: Option<u64>,
        /// The bytes as they are on a terminal too
        #[arg(long)]
        raw: bool,
    },
    /// Stores a value; makes the database and the table where they are missing
    #[command(after_help = format!("{LITERALS}\n
A value from standard input or a file may be up to 1 TiB; it is stored byte by byte, line breaks included.\n
Examples:
  atomkv put data users ada '{{\"born\":1815}}'
  atomkv put data photos cat @cat.jpg --ttl 30d
  date | atomkv put data notes now -
  atomkv put data users ada '{{}}' --if-version 3   exit code 3 if it has another"))]
    Put {
        /// The key.
        #[command(flatten)]
        target: Target,
        /// The value: text, 0x…, b64:…, @FILE, text:…, or - for standard input
        value: OsString,
        /// A condition.
        #[command(flatten)]
        condition: Condition,
        /// It expires after this time, such as 30s, 12h or 7d
        #[arg(long, value_name = "TIME")]
        ttl: Option<String>,
        /// Returns when it is on stable storage
        #[arg(long)]
        sync: bool,
    },
    /// Deletes a document
    #[command(
        after_help = "Examples:\n  atomkv del data users ada\n  atomkv del data users ada --if-version 3"
    )]
    Del {
        /// The key.
        #[command(flatten)]
        target: Target,
        /// A condition.
        #[command(flatten)]
        condition: Condition,
        /// Returns when it is on stable storage
        #[arg(long)]
        sync: bool,
    },
    /// Lists documents: a table on a terminal, JSON Lines otherwise
    #[command(after_help = "Examples:
  atomkv scan data users user: -n 10
  atomkv scan data users --keys | while read -r key; do atomkv get data users \"$key\"; done
  atomkv scan data users --from b --to d --reverse
  atomkv scan data users --count")]
    Scan {
        /// The table.
        #[command(flatten)]
        place: Place,
        /// Which keys.
        #[command(flatten)]
        range: RangeArguments,
        /// The keys alone, one a line, written so that they can be given to get
        #[arg(long)]
        keys: bool,
        /// Only how many there are
        #[arg(long, conflicts_with = "keys")]
        count: bool,
    },
    /// Lists the versions of a document that are kept, newest first
    #[command(after_help = "Examples:
  atomkv create data users --keep 10   a table keeps old versions if it is told to
  atomkv history data users ada")]
    History {
        /// The key.
        #[command(flatten)]
        target: Target,
    },
    /// Lists the tables
    Tables {
        /// The directory of the database, or the address of a service
        db: PathBuf,
    },
    /// Makes a table with settings of its own
    #[command(after_help = "Examples:
  atomkv create data events --ordered --keep 7d
  atomkv create data sessions --ttl 12h")]
    Create {
        /// The table.
        #[command(flatten)]
        place: Place,
        /// Its settings.
        #[command(flatten)]
        settings: SettingsArguments,
    },
    /// Reads documents from JSON Lines, CSV or a dump
    #[command(after_help = "The formats are described in docs/transfer.md.\n
Examples:
  atomkv import data users users.csv
  curl -s https://example.com/users.jsonl | atomkv import data users -
  atomkv import data --all everything.dump
  atomkv import data users big.jsonl --resume   goes on after kill -9 where it was")]
    Import {
        /// The directory of the database, or the address of a service
        db: PathBuf,
        /// The table; with --all the file
        table: String,
        /// The file, or - for standard input
        #[arg(required_unless_present = "all")]
        file: Option<PathBuf>,
        /// All tables of a dump
        #[arg(long, conflicts_with_all = [
            "file", "format", "encoding", "record_limit", "resume", "ordered", "keep", "ttl", "partitions", "sync",
        ])]
        all: bool,
        /// The format; by default as the name of the file says, else JSON Lines
        #[arg(long, value_enum)]
        format: Option<FileFormat>,
        /// How keys and values stand in JSON Lines and CSV where no mark says it; by default as text
        #[arg(long, value_enum)]
        encoding: Option<TextEncoding>,
        /// What to do with keys that are there already
        #[arg(long, value_enum, default_value_t = Existing::Replace)]
        if_exists: Existing,
        /// Leaves out up to so many malformed records
        #[arg(long, value_name = "N", default_value_t = 0)]
        skip_malformed: u64,
        /// The most bytes that a line of JSON or a record of CSV may have, and so about how much memory one takes several
        /// times: 64 MiB unless told otherwise. Not for services
        #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u64).range(1..))]
        record_limit: Option<u64>,
        /// Keeps its place in the table "atomkv.imports", and goes on from there
        #[arg(long)]
        resume: bool,
        /// Settings of a new table.
        #[command(flatten)]
        settings: SettingsArguments,
    },
    /// Writes documents as JSON Lines, CSV or a dump
    #[command(after_help = "The formats are described in docs/transfer.md. All records are of one moment.\n
Examples:
  atomkv export data users -o users.csv
  atomkv export data users user: | gzip > users.jsonl.gz
  atomkv export data --all -o everything.dump")]
    Export {
        /// The directory of the database, or the address of a service
        db: PathBuf,
        /// The table
        #[arg(required_unless_present = "all")]
        table: Option<String>,
        /// Which keys.
        #[command(flatten)]
        range: RangeArguments,
        /// All tables, as a dump
        #[arg(long, conflicts_with_all = [
            "table", "from", "to", "limit", "reverse", "contains", "glob", "format", "encoding",
        ])]
        all: bool,
        /// The file; standard output without. It appears when it is complete
        #[arg(long, short, value_name = "FILE")]
        output: Option<PathBuf>,
        /// The format; by default as the name of the file says, else JSON Lines
        #[arg(long, value_enum)]
        format: Option<FileFormat>,
        /// How keys and values stand in JSON Lines (by default auto) and CSV (by default text)
        #[arg(long, value_enum)]
        encoding: Option<TextEncoding>,
        /// With versions and sequences
        #[arg(long)]
        versions: bool,
    },
    /// Copies the database to a directory, or as a stream to standard output
    #[command(
        after_help = "Into the same directory again, only what is new is written. For a database that another process has
open, the backup is up to that process. A service makes it in its own directory of backups, under a name.\n
Examples:
  atomkv backup data /backups/data
  atomkv backup data - | ssh backuphost 'cat > data.tar'
  atomkv backup http://127.0.0.1:7070 monday"
    )]
    Backup {
        /// The directory of the database, or the address of a service
        db: PathBuf,
        /// Where to: a directory, or - for a tar archive on standard output; of a service a name
        to: PathBuf,
        /// Copies files instead of linking those that never change
        #[arg(long)]
        copy: bool,
        /// Reads the backup again and verifies it
        #[arg(long)]
        verify: bool,
    },
    /// Makes a database of a backup
    #[command(after_help = "Examples:
  atomkv restore /backups/data data
  ssh backuphost 'cat data.tar' | atomkv restore - data")]
    Restore {
        /// The backup: a directory, or - for a tar archive on standard input
        from: PathBuf,
        /// The directory of the new database: missing or empty
        db: PathBuf,
        /// Does not verify what was restored
        #[arg(long)]
        no_verify: bool,
    },
    /// Reads everything and holds it against its checksums; changes nothing
    #[command(
        after_help = "Exit code 5 if there is damage. Beside a process that has the database open, what it has acknowledged
by now is verified."
    )]
    Verify {
        /// The directory of the database, or the address of a service
        db: PathBuf,
    },
    /// Makes a new database of everything that is intact in a damaged one
    #[command(
        after_help = "The damaged database is not changed. Exit code 5 if documents are known to be lost.\n
Example:\n  atomkv salvage damaged rescued"
    )]
    Salvage {
        /// The directory of the damaged database
        db: PathBuf,
        /// The directory of the new one: missing or empty
        to: PathBuf,
    },
    /// Gives back the space of what was overwritten and deleted
    Compact {
        /// The directory of the database, or the address of a service
        db: PathBuf,
    },
    /// Gives a table another number of partitions
    Resize {
        /// The table.
        #[command(flatten)]
        place: Place,
        /// How many, 1 to 16384
        partitions: u32,
    },
    /// Shows what the database, or a table, counts and takes
    #[command(
        after_help = "docs/statistics.md explains the values. Rates and latencies are those of the process that has the
database open, which this one is not."
    )]
    Stats {
        /// The directory of the database, or the address of a service
        db: PathBuf,
        /// The table
        table: Option<String>,
    },
    /// Follows the changes that another process makes
    #[command(
        after_help = "Shows changes some times a second, as JSON Lines into a pipe. Each has the sequence from which
it can be followed on: --from with one more.\n
Examples:
  atomkv watch data
  atomkv watch data users user: --from 1 --no-follow"
    )]
    Watch {
        /// The directory of the database, or the address of a service
        db: PathBuf,
        /// Only this table
        table: Option<String>,
        /// Only keys that begin so
        prefix: Option<OsString>,
        /// From this sequence on, as far as the log still holds it; without, from now on
        #[arg(long, value_name = "SEQUENCE")]
        from: Option<u64>,
        /// Ends with what has been committed already
        #[arg(long)]
        no_follow: bool,
        /// Ends after so many changes
        #[arg(long, short = 'n', value_name = "N")]
        limit: Option<u64>,
    },
    /// Measures how fast puts, gets and scans are on this machine
    #[command(
        after_help = "Makes a database in the directory, which must be missing or empty, and removes it again. By the address of
a service: how fast one client is, in a table atomkv.bench, whose documents are removed again.\n
Example:\n  atomkv bench /tmp/atomkv-bench --documents 1000000 --value-bytes 100"
    )]
    Bench {
        /// Where to: a directory on the disk in question, or the address of a service
        directory: PathBuf,
        /// How many documents
        #[arg(long, value_name = "N", default_value_t = 200_000)]
        documents: u64,
        /// How long each value is, in bytes
        #[arg(long, value_name = "N", default_value_t = 100)]
        value_bytes: usize,
        /// How many durable puts
        #[arg(long, value_name = "N", default_value_t = 1000)]
        durable: u64,
    },
    /// Serves a database over HTTP, until SIGTERM or Ctrl-C
    ///
    /// Each setting is a flag, an environment variable or a line of a TOML file. The log goes to standard error.
    #[command(
        after_help = "docs/service.md tells how to call it, docs/operations/service.md how to run it.\n
Examples:
  atomkv serve data
  atomkv serve data --listen 0.0.0.0:7070 --tokens tokens.toml --tls-certificate c.pem --tls-key k.pem"
    )]
    Serve {
        /// The settings.
        #[command(flatten)]
        settings: Box<atomkv_server::Args>,
    },
    /// Makes a token for the service: an entry of its file of tokens on standard output, the token on standard error
    #[command(after_help = "Examples:
  atomkv token ada --scopes read,write >> tokens.toml
  atomkv token logger --scopes write --tables 'log-*' >> tokens.toml")]
    Token {
        /// Whose it is, for the log
        name: String,
        /// What it is for: read, write, admin
        #[arg(long, value_enum, value_delimiter = ',', required = true)]
        scopes: Vec<TokenScope>,
        /// Only these tables: names, or beginnings of names with * behind
        #[arg(long, value_name = "TABLES", value_delimiter = ',')]
        tables: Vec<String>,
    },
    /// Prints completions for a shell
    #[command(after_help = "Examples:
  atomkv completions bash > ~/.local/share/bash-completion/completions/atomkv
  atomkv completions zsh > ~/.zfunc/_atomkv
  atomkv completions fish > ~/.config/fish/completions/atomkv.fish")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Prints the manual page, or writes those of all verbs
    #[command(
        after_help = "Examples:\n  atomkv man | man -l -\n  atomkv man --directory ~/.local/share/man/man1"
    )]
    Man {
        /// Writes atomkv.1, atomkv-get.1 and so on to this directory
        #[arg(long, value_name = "DIRECTORY")]
        directory: Option<PathBuf>,
    },
}

/// What a token of the service is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum TokenScope {
    /// Documents, lists, changes.
    Read,
    /// Documents.
    Write,
    /// Creating tables, operations, statistics.
    Admin,
}
