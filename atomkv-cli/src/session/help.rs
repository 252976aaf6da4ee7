//! The verbs of the session, and what is to be said about each.

/// A verb of the session.
#[derive(Debug)]
pub struct Verb {
    /// The word.
    pub name: &'static str,
    /// What may stand behind it.
    pub usage: &'static str,
    /// What it does.
    pub summary: &'static str,
    /// More of that, with examples; may be empty.
    pub details: &'static str,
    /// What its first word is, for completion.
    pub takes: Takes,
}

/// What a word stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takes {
    /// Nothing that could be completed.
    Nothing,
    /// A table.
    Table,
    /// A key of the chosen table.
    Key,
    /// A verb.
    Verb,
}

/// All verbs, in the order in which `help` lists them.
pub const VERBS: &[Verb] = &[
    Verb {
        name: "help",
        usage: "[VERB]",
        summary: "lists the verbs, or tells about one",
        details: "",
        takes: Takes::Verb,
    },
    Verb { name: "tables", usage: "", summary: "lists the tables", details: "", takes: Takes::Nothing },
    Verb {
        name: "table",
        usage: "[NAME [ordered] [keep N|TIME|all] [ttl TIME] [partitions N] [sync]]",
        summary: "chooses a table for all that follows, and makes it if settings are given",
        details: "Without settings a table that is not there is made by the first write.\n\
                  \n  table users\n  table events ordered keep 7d",
        takes: Takes::Table,
    },
    Verb {
        name: "put",
        usage: "KEY VALUE [if version N|if sequence N|if absent|if present] [ttl TIME] [sync]",
        summary: "stores a value",
        details: "  put ada {\"born\":1815}\n  put note 'any text' ttl 12h\n  put photo @cat.jpg\n  \
                  put ada {} if version 3\n  put key $x                 the value of a variable",
        takes: Takes::Key,
    },
    Verb {
        name: "get",
        usage: "KEY [version N|at SEQUENCE]",
        summary: "shows a value; into a pipe or a file go its bytes",
        details: "  get ada\n  get ada | jq .born\n  get photo > cat.jpg\n  let x = get ada        for scripts: x.born",
        takes: Takes::Key,
    },
    Verb {
        name: "del",
        usage: "KEY [if version N|if sequence N] [sync]",
        summary: "deletes a document",
        details: "",
        takes: Takes::Key,
    },
    Verb {
        name: "scan",
        usage: "[PREFIX] [from KEY] [to KEY] [limit N|all] [reverse] [keys] [contains BYTES] [glob PATTERN]",
        summary: "lists documents; into a pipe or a file go JSON Lines",
        details: "On a terminal it ends after 100 documents unless a limit is given.\n\
                  \n  scan user: limit 10\n  scan from b to d reverse\n  scan user: limit all | jq .value\n  \
                  scan user: keys > keys.txt",
        takes: Takes::Key,
    },
    Verb { name: "count", usage: "[PREFIX]", summary: "counts documents", details: "", takes: Takes::Key },
    Verb {
        name: "history",
        usage: "KEY",
        summary: "lists the versions that are kept, newest first",
        details: "A table keeps old versions if it was made so: table users keep 10.",
        takes: Takes::Key,
    },
    Verb {
        name: "ttl",
        usage: "KEY [TIME|never]",
        summary: "shows, sets or takes away the time to live of a document",
        details: "  ttl session:7\n  ttl session:7 30m\n  ttl session:7 never",
        takes: Takes::Key,
    },
    Verb {
        name: "begin",
        usage: "",
        summary: "begins a transaction: what follows happens as one, at the commit",
        details: "get, put, del, scan and count, and the functions of the same names, belong to the transaction.\n\
                  \n  begin\n  put a 1\n  put b 2\n  commit",
        takes: Takes::Nothing,
    },
    Verb {
        name: "commit",
        usage: "[sync]",
        summary: "commits the transaction; a conflict if others changed what it has read",
        details: "",
        takes: Takes::Nothing,
    },
    Verb { name: "abort", usage: "", summary: "forgets the transaction", details: "", takes: Takes::Nothing },
    Verb {
        name: "watch",
        usage: "[PREFIX] [from SEQUENCE] [limit N]",
        summary: "follows the changes of the table, or of all if none is chosen, until Ctrl-C",
        details: "With from, what the log still holds is shown first. A session that writes is the only writer of its\n\
                  database: open it with --read-only beside the program whose changes are wanted.\n\
                  \n  watch from 1 limit 10",
        takes: Takes::Key,
    },
    Verb {
        name: "stats",
        usage: "[TABLE]",
        summary: "shows what the database, or a table, counts and takes",
        details: "docs/statistics.md explains the values.",
        takes: Takes::Table,
    },
    Verb {
        name: "import",
        usage: "FILE",
        summary: "reads documents from JSON Lines, *.csv or *.dump",
        details: "docs/transfer.md describes the formats.",
        takes: Takes::Nothing,
    },
    Verb {
        name: "export",
        usage: "[PREFIX] [as jsonl|csv]",
        summary: "writes documents as JSON Lines or CSV; mostly into a file",
        details: "  export > users.jsonl\n  export user: as csv > users.csv",
        takes: Takes::Key,
    },
    Verb {
        name: "resize",
        usage: "N",
        summary: "gives the table another number of partitions",
        details: "",
        takes: Takes::Nothing,
    },
    Verb {
        name: "compact",
        usage: "",
        summary: "gives back the space of what was overwritten and deleted",
        details: "",
        takes: Takes::Nothing,
    },
    Verb {
        name: "verify",
        usage: "",
        summary: "reads everything and holds it against its checksums",
        details: "",
        takes: Takes::Nothing,
    },
    Verb {
        name: "backup",
        usage: "DIRECTORY",
        summary: "copies the database; into the same directory again, only what is new",
        details: "",
        takes: Takes::Nothing,
    },
    Verb {
        name: "sync",
        usage: "",
        summary: "returns when everything is on stable storage",
        details: "",
        takes: Takes::Nothing,
    },
    Verb { name: "run", usage: "FILE", summary: "runs a script", details: "", takes: Takes::Nothing },
    Verb {
        name: "quit",
        usage: "",
        summary: "ends the session; so do exit and Ctrl-D",
        details: "",
        takes: Takes::Nothing,
    },
];

/// The words of the script language.
pub const KEYWORDS: &[&str] = &[
    "let",
    "const",
    "if",
    "else",
    "for",
    "in",
    "while",
    "loop",
    "do",
    "until",
    "fn",
    "return",
    "try",
    "catch",
    "throw",
    "true",
    "false",
    "break",
    "continue",
    "switch",
    "import",
    "export",
    "as",
    "private",
    "this",
    "is_def_var",
];

/// The verb with this name.
pub fn verb(name: &str) -> Option<&'static Verb> {
    let name = if name == "exit" { "quit" } else { name };
    VERBS.iter().find(|verb| verb.name == name)
}

/// The names of all verbs.
pub fn names() -> impl Iterator<Item = &'static str> {
    VERBS.iter().map(|verb| verb.name)
}

/// What `help` says.
pub fn overview() -> String {
    let mut text = String::new();
    for verb in VERBS {
        text.push_str(&format!("{:8} {}\n", verb.name, verb.summary));
    }
    text.push_str(LANGUAGE);
    text
}

/// What `help VERB` says.
pub fn about(verb: &Verb) -> String {
    let mut text = format!("{} {}\n{}\n", verb.name, verb.usage, verb.summary);
    if !verb.details.is_empty() {
        text.push_str(&format!("\n{}\n", verb.details));
    }
    text
}

const LANGUAGE: &str = "
Keys and values: text, 'quoted', \"quoted\\n\", {\"json\":1}, 0x00ff, b64:AP8=, @FILE, $variable.
Output goes elsewhere with | COMMAND, > FILE and >> FILE.
All else is a script (https://rhai.rs/book):
  for i in 0..1000 { put(`user:${i}`, #{name: \"Bob\", n: i}) }
  let old = scan(\"user:\").filter(|e| e.value.n > 990).map(|e| e.key)
  transact(|| { put(\"a\", get(\"a\") + 1); put(\"b\", get(\"b\") - 1) })
Functions: table(name) with the methods put get text raw entry exists del scan count history each ttl; the same for the
chosen table without it; begin commit abort transact tables json parse hex now sleep print. docs/cli.md tells more.
";
