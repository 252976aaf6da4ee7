//! Imports and exports: what goes out comes back exactly, whatever ends an import leaves whole records up to a place that
//! is told, and no input does harm.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use atomkv_engine::services::{Gzip, Identity, KeyValidator, RedisSlots, Services};
use atomkv_engine::storage::sim::SimStorage;
use atomkv_engine::{
    Database, DumpOptions, Durability, Encoding, Error, Expect, ExportOptions, Format, IfExists,
    ImportOptions, Options, Position, ReportHandle, Result, Retention, ScanOptions, Table, TableOptions,
    TransferReport, Watcher, WriteOptions,
};

use crate::common;
use crate::common::{Random, for_each_seed, sim_options};

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

const FORMATS: [Format; 3] = [Format::JsonLines, Format::Csv, Format::Dump];

fn database() -> (SimStorage, Database) {
    let sim = SimStorage::new(1);
    let database = Database::open(Path::new("/sim/db"), sim_options(&sim, 4)).expect("opens");
    (sim, database)
}

fn table(database: &Database, name: &str) -> Table {
    database.table(name, TableOptions::new().partitions(4)).expect("a table")
}

fn contents(table: &Table) -> Model {
    table.iter().map(|pair| pair.expect("readable")).collect()
}

fn export(table: &Table, options: &ExportOptions) -> Vec<u8> {
    let mut out = Vec::new();
    let report = table.export(&mut out, options, Watcher::none()).expect("exported");
    assert_eq!(report.bytes, out.len() as u64);
    assert_eq!(report.position, Position { records: report.records, offset: report.bytes });
    out
}

fn import(table: &Table, bytes: &[u8], options: &ImportOptions) -> Result<TransferReport> {
    // A small buffer, so that records lie across its ends.
    table.import(&mut BufReader::with_capacity(61, bytes), options, Watcher::none())
}

/// The record, the offset and the reason of malformed input.
fn input_error(outcome: Result<TransferReport>) -> (u64, u64, String) {
    match outcome {
        Err(Error::Input { record, offset, reason }) => (record, offset, reason),
        other => panic!("no input error: {other:?}"),
    }
}

/// Values that formats may stumble over, besides random ones.
fn awkward() -> Vec<Vec<u8>> {
    let texts = [
        "",
        " ",
        "a",
        "\"",
        "\"\"",
        "a\"b",
        "a,b",
        "a;b",
        "a\r",
        "\n",
        "a\r\nb",
        "\r\n",
        " a ",
        "\u{feff}",
        "\u{feff}a",
        "ä€𝄞",
        "\0",
        "\u{7f}\u{1}",
        "null",
        "1",
        "-1.50e+300",
        "true",
        "\"text\"",
        "{",
        "[",
        "{}",
        "[]",
        "{\"a\": 1}",
        "{\"a\":\n1}",
        " {}",
        "{} ",
        "[1,\"\\ud800\"]",
        "{\"n\":123456789012345678901234567890.10}",
        "\\",
        "\\n",
        "key",
        "=1+1",
        "base64",
        "\u{2028}",
    ];
    let deep = ["[".repeat(50_000), "]".repeat(50_000)].concat();
    let mut all: Vec<Vec<u8>> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    all.extend([deep.into_bytes(), vec![0xff], vec![0xef, 0xbb, 0xbf, 0xff], b"{\"a\":\"\xff\"}".to_vec()]);
    all
}

/// A table with awkward and random keys and values.
fn fill(table: &Table, random: &mut Random) -> Model {
    let mut model = Model::new();
    let awkward = awkward();
    for (number, value) in awkward.iter().enumerate() {
        model.insert(format!("value {number}").into_bytes(), value.clone());
        if !value.is_empty() && value.len() < 1_000 {
            model.insert(value.clone(), format!("key {number}").into_bytes());
        }
    }
    for _ in 0..300 {
        let most = if random.chance(20) { 3_000 } else { 20 };
        let length = 1 + random.below(most) as usize;
        let mut key = random.bytes(length);
        if random.chance(2) {
            key.iter_mut().for_each(|byte| *byte = b' ' + *byte % 90);
        }
        model.insert(key, common::value(random));
    }
    for (key, value) in &model {
        table.put(key, value).expect("put");
    }
    model
}

fn is_text(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_ok()
}

fn is_json(bytes: &[u8]) -> bool {
    serde_json::from_slice::<&serde_json::value::RawValue>(bytes).is_ok()
}

#[test]
fn what_goes_out_comes_back_in_every_format_and_encoding() {
    for_each_seed("transfer", 3, |seed| {
        let (_sim, database) = database();
        let from = database.table("from", TableOptions::new().ordered(seed % 2 == 0)).expect("a table");
        let model = fill(&from, &mut Random::new(seed));
        let texts = [Format::JsonLines, Format::Csv];
        let encodings = [Encoding::Auto, Encoding::Hex, Encoding::Base64];
        let mut cases: Vec<(Format, Encoding, Encoding, u8)> = Vec::new();
        for format in texts {
            for keys in encodings {
                cases.extend(encodings.map(|values| (format, keys, values, b',')));
            }
        }
        cases.extend(
            [b';', b'\t', b'|', b'1', b' ', b'a', b'x', b'e', b'_']
                .map(|by| (Format::Csv, Encoding::Auto, Encoding::Auto, by)),
        );
        cases.push((Format::Dump, Encoding::Auto, Encoding::Auto, b','));
        for (number, (format, keys, values, delimiter)) in cases.into_iter().enumerate() {
            let options = ExportOptions::new().format(format).delimiter(delimiter).versions(number % 2 == 0);
            let bytes = export(&from, &options.key_encoding(keys).value_encoding(values));
            let to = table(&database, &format!("to {number}"));
            let options = ImportOptions::new().format(format).delimiter(delimiter);
            let report = import(&to, &bytes, &options).expect("imported");
            assert_eq!(report.records, model.len() as u64);
            assert_eq!(report.position.offset, bytes.len() as u64);
            assert!(contents(&to) == model, "{format:?} {keys:?} {values:?}");
        }
    });
}

#[test]
fn text_and_json_come_back_where_they_can_be_written() {
    let (_sim, database) = database();
    let (texts, json) = (table(&database, "texts"), table(&database, "json"));
    for (number, value) in awkward().into_iter().enumerate() {
        let key = format!("value {number}").into_bytes();
        if is_text(&value) {
            texts.put(&key, &value).expect("put");
        }
        if is_json(&value) {
            json.put(&key, &value).expect("put");
        }
    }
    assert!(json.len() > 10);
    for format in [Format::JsonLines, Format::Csv] {
        for (from, encoding) in [(&texts, Encoding::Text), (&json, Encoding::Json)] {
            let options = ExportOptions::new().format(format).key_encoding(Encoding::Text);
            let bytes = export(from, &options.value_encoding(encoding));
            let to = table(&database, &format!("{format:?} {encoding:?}"));
            import(&to, &bytes, &ImportOptions::new().format(format)).expect("imported");
            let plain = |mut model: Model| {
                if (format, encoding) == (Format::JsonLines, Encoding::Json) {
                    // White space around JSON does not come back, nor do line breaks.
                    for value in model.values_mut() {
                        let text = String::from_utf8_lossy(value).replace(['\n', '\r'], " ");
                        *value = text.trim().as_bytes().to_vec();
                    }
                }
                model
            };
            assert!(contents(&to) == plain(contents(from)), "{format:?} {encoding:?}");
        }
    }
}

#[test]
fn what_cannot_be_written_is_named() {
    let (_sim, database) = database();
    let ordered = database.table("t", TableOptions::new().ordered(true)).expect("a table");
    ordered.put(b"a", b"{}").expect("put");
    ordered.put(b"b\xff", b"no json").expect("put");
    ordered.put(b"c", b"\xff").expect("put");
    let refused = |options: ExportOptions| {
        let (mut out, report) = (Vec::new(), ReportHandle::new());
        let outcome = ordered.export(&mut out, &options.report_to(&report), Watcher::none());
        let Err(Error::InvalidArgument { reason }) = outcome else { panic!("{outcome:?}") };
        let report = report.get();
        assert_eq!(report.bytes, out.len() as u64, "what was written before is told");
        (report.records, report.last_key, reason)
    };
    let text = ExportOptions::new().key_encoding(Encoding::Text);
    let (records, last_key, reason) = refused(text.clone());
    assert_eq!((records, last_key), (1, Some(b"a".to_vec())));
    assert!(reason.starts_with("record 2 of the export, key \"b\\xff\": its key is not UTF-8"), "{reason}");
    let (_, _, reason) = refused(text.format(Format::Csv));
    assert!(reason.contains("record 2"), "{reason}");
    let (_, _, reason) = refused(ExportOptions::new().value_encoding(Encoding::Json));
    assert!(reason.contains("record 2") && reason.contains("its value is not JSON"), "{reason}");
    let (records, _, reason) = refused(ExportOptions::new().value_encoding(Encoding::Text));
    assert!(
        records == 2 && reason.contains("record 3") && reason.contains("its value is not UTF-8"),
        "{reason}"
    );
    for options in [
        ExportOptions::new().key_encoding(Encoding::Json),
        ExportOptions::new().delimiter(b'"'),
        ExportOptions::new().delimiter(0xe4),
        ExportOptions::new().format(Format::Dump).scan(ScanOptions::new().keys_only(true)),
    ] {
        let outcome = ordered.export(&mut io::sink(), &options, Watcher::none());
        assert!(matches!(outcome, Err(Error::InvalidArgument { .. })), "{options:?}");
    }
}

#[test]
fn exports_are_of_what_was_asked_for() {
    let (_sim, database) = database();
    let ordered = database.table("t", TableOptions::new().ordered(true)).expect("a table");
    for number in 0..100 {
        ordered.put(format!("k{number:02}").as_bytes(), b"v").expect("put");
    }
    let text = |options: ExportOptions| String::from_utf8(export(&ordered, &options)).expect("text");
    let scan = ScanOptions::new().prefix(b"k1").limit(2);
    let options = ExportOptions::new().scan(scan.clone());
    assert_eq!(text(options), "{\"key\":\"k10\",\"value\":\"v\"}\n{\"key\":\"k11\",\"value\":\"v\"}\n");
    let options =
        ExportOptions::new().scan(scan.keys_only(true)).format(Format::Csv).expiry(false).header(false);
    assert_eq!(text(options), "k10\r\nk11\r\n");
    let range = ScanOptions::new().range(b"k98".as_slice()..).reverse(true);
    let options = ExportOptions::new().scan(range).format(Format::Csv).versions(true).delimiter(b';');
    let sequence = |key: &[u8]| ordered.get_entry(key).expect("read").expect("there").sequence;
    let expected = format!(
        "key;value;version;sequence;expires_at_ms\r\nk99;v;1;{};\r\nk98;v;1;{};\r\n",
        sequence(b"k99"),
        sequence(b"k98")
    );
    assert_eq!(text(options), expected);
    // One moment, whatever is written meanwhile.
    let snapshot = database.snapshot().expect("a snapshot");
    ordered.put(b"k00", b"other").expect("put");
    let mut out = Vec::new();
    let report =
        snapshot.export(&ordered, &mut out, &ExportOptions::new(), Watcher::none()).expect("exported");
    assert_eq!(report.records, 100);
    assert!(!String::from_utf8_lossy(&out).contains("other"));
}

/// A writer that takes so many bytes and then fails.
struct Failing {
    taken: Vec<u8>,
    most: usize,
}

impl Write for Failing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = (self.most - self.taken.len()).min(bytes.len());
        if room == 0 {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.taken.extend_from_slice(&bytes[..room]);
        Ok(room)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_export_goes_on_where_the_output_was_full() {
    let (_sim, database) = database();
    for is_ordered in [false, true] {
        let name = format!("from {is_ordered}");
        let from = database.table(&name, TableOptions::new().ordered(is_ordered)).expect("a table");
        let mut random = Random::new(7);
        for number in 0..3_000_u32 {
            let length = if number % 500 == 0 { 90_000 } else { random.below(200) as usize };
            from.put(format!("key {number}").as_bytes(), &random.bytes(length)).expect("put");
        }
        let (mut token, mut bytes, mut rounds) = (None::<Vec<u8>>, Vec::new(), 0);
        loop {
            let mut scan = ScanOptions::new().paged(true);
            if let Some(token) = &token {
                scan = scan.after(token);
            }
            let report = ReportHandle::new();
            let options = ExportOptions::new().scan(scan).report_to(&report);
            let mut writer = Failing { taken: Vec::new(), most: 300_000 };
            let outcome = from.export(&mut writer, &options, Watcher::none());
            bytes.extend_from_slice(&writer.taken[..report.get().bytes as usize]);
            token = report.get().page_token.or(token);
            rounds += 1;
            match outcome {
                Ok(_) => break,
                Err(error) => assert!(matches!(error, Error::NoSpace { .. }), "{error}"),
            }
            assert!(rounds < 50);
        }
        assert!(rounds > 2);
        let to = table(&database, &format!("to {is_ordered}"));
        let report = import(&to, &bytes, &ImportOptions::new().if_exists(IfExists::Fail)).expect("imported");
        assert_eq!(report.records, 3_000);
        assert!(contents(&to) == contents(&from));
    }
}

#[test]
fn expiries_are_kept_or_not() {
    let (sim, database) = database();
    let hour = 3_600_000;
    let ttl = TableOptions::new().ttl(Duration::from_secs(7_200));
    let from = database.table("from", ttl.clone()).expect("a table");
    let now_ms = database.snapshot().expect("a snapshot").time_ms();
    from.put_with(b"never", b"1", WriteOptions::new().expiry(atomkv_engine::Expiry::Never)).expect("put");
    from.put_with(b"soon", b"2", WriteOptions::new().expires_at_ms(now_ms + hour)).expect("put");
    from.put(b"default", b"3").expect("put");
    let expiry =
        |table: &Table, key: &[u8]| table.get_entry(key).expect("read").expect("there").expires_at_ms;
    let dumps = FORMATS.map(|format| (format, export(&from, &ExportOptions::new().format(format))));
    let without = ExportOptions::new().expiry(false);
    assert!(!String::from_utf8_lossy(&export(&from, &without)).contains("expires_at_ms"));
    for (format, bytes) in &dumps {
        let to = database.table(&format!("kept {format:?}"), ttl.clone()).expect("a table");
        import(&to, bytes, &ImportOptions::new().format(*format)).expect("imported");
        for key in [&b"never"[..], b"soon", b"default"] {
            assert_eq!(expiry(&to, key), expiry(&from, key), "{format:?}");
        }
        let plain = table(&database, &format!("plain {format:?}"));
        import(&plain, bytes, &ImportOptions::new().format(*format).keep_expiry(false)).expect("imported");
        assert_eq!(expiry(&plain, b"soon"), None);
    }
    sim.pass_time(hour);
    for (format, bytes) in &dumps {
        let to = table(&database, &format!("late {format:?}"));
        let report = import(&to, bytes, &ImportOptions::new().format(*format)).expect("imported");
        assert_eq!((report.records, report.expired), (2, 1), "{format:?}");
        assert_eq!(to.get(b"soon").expect("read"), None);
    }
    // What does not say is as the table says.
    let to = database.table("unsaid", ttl).expect("a table");
    import(&to, b"{\"key\":\"k\",\"value\":\"v\"}\n", &ImportOptions::new()).expect("imported");
    assert!(expiry(&to, b"k").expect("one") > now_ms + 2 * hour);
}

#[test]
fn a_key_that_is_there_is_replaced_skipped_or_an_error() {
    let (_sim, database) = database();
    let lines = |numbers: std::ops::Range<u32>, value: &str| -> String {
        numbers.map(|number| format!("{{\"key\":\"k{number}\",\"value\":\"{value}\"}}\n")).collect()
    };
    let start = |name: &str| {
        let table = table(&database, name);
        table.put(b"k2500", b"old").expect("put");
        table
    };
    // 3,000 records, then one of a key that came in an earlier commit, and one in the same.
    let input =
        [lines(0..3_000, "new"), lines(7..8, "again"), lines(3_000..3_001, "x"), lines(3_000..3_001, "y")]
            .concat();
    let get = |table: &Table, key: &[u8]| {
        table.get(key).expect("read").map(|value| String::from_utf8_lossy(&value).into_owned())
    };

    let replaced = start("replace");
    for _ in 0..2 {
        let report = import(&replaced, input.as_bytes(), &ImportOptions::new()).expect("imported");
        assert_eq!((report.records, report.existing), (3_003, 0));
        assert_eq!(get(&replaced, b"k2500").as_deref(), Some("new"));
        assert_eq!(get(&replaced, b"k7").as_deref(), Some("again"));
        assert_eq!(get(&replaced, b"k3000").as_deref(), Some("y"));
        assert_eq!(replaced.len(), 3_001);
    }
    let skipped = start("skip");
    let options = ImportOptions::new().if_exists(IfExists::Skip);
    let report = import(&skipped, input.as_bytes(), &options).expect("imported");
    assert_eq!((report.records, report.existing), (3_000, 3));
    assert_eq!(get(&skipped, b"k2500").as_deref(), Some("old"));
    assert_eq!(get(&skipped, b"k7").as_deref(), Some("new"));
    assert_eq!(get(&skipped, b"k3000").as_deref(), Some("x"));

    let failed = start("fail");
    let report = ReportHandle::new();
    let options = ImportOptions::new().if_exists(IfExists::Fail).report_to(&report);
    let (record, offset, reason) = input_error(import(&failed, input.as_bytes(), &options));
    let expected = lines(0..2_500, "new").len() as u64;
    assert_eq!((record, offset), (2_501, expected));
    assert!(reason.contains("\"k2500\" is there already"), "{reason}");
    assert_eq!(failed.len(), 2_501, "all before it, and nothing behind");
    assert_eq!(report.get().position, Position { records: 2_500, offset });
    failed.delete(b"k2500").expect("deleted");
    let options = options.resume(report.get().position);
    let (record, ..) = input_error(import(&failed, input.as_bytes(), &options));
    assert_eq!(record, 3_001, "the second k7");
}

#[test]
fn malformed_lines_are_named() {
    let good = "{\"key\":\"good\",\"value\":\"1\"}\n";
    let cases: &[(&[u8], &str)] = &[
        (b"{", "EOF"),
        (b"nonsense", "no object"),
        (b"[]", "no object"),
        (b"\"text\"", "no object"),
        (b"{\"key\":\"a\",\"value\":\"b\"} {}", "trailing"),
        (b"{\"key\":\"a\"}", "it has no value"),
        (b"{\"value\":\"a\"}", "it has no key"),
        (b"{\"key\":\"a\",\"key\":\"b\",\"value\":\"\"}", "besides another"),
        (b"{\"key\":\"a\",\"key_hex\":\"61\",\"value\":\"\"}", "besides another"),
        (b"{\"key\":\"a\",\"value\":\"\",\"version\":1,\"version\":2}", "besides another"),
        (b"{\"key\":\"a\",\"value\":\"\",\"other\":1}", "no field \"other\""),
        (b"{\"key\":1,\"value\":\"\"}", "its key is not a string"),
        (b"{\"key\":\"\",\"value\":\"\"}", "the key is empty"),
        (b"{\"key_hex\":\"6\",\"value\":\"\"}", "its key is not hexadecimal"),
        (b"{\"key_hex\":\"6g\",\"value\":\"\"}", "its key is not hexadecimal"),
        (b"{\"key\":\"a\",\"value_base64\":\"YQ\"}", "its value is not base64"),
        (b"{\"key\":\"a\",\"value_base64\":\"YR==\"}", "its value is not base64"),
        (b"{\"key\":\"a\",\"value_base64\":\"Y Q=\"}", "its value is not base64"),
        (b"{\"key\":\"a\",\"value_base64\":1}", "its value is not a string"),
        (b"{\"key\":\"\\ud800\",\"value\":\"\"}", "its key is not a sound string"),
        (b"{\"key\":\"\xff\",\"value\":\"\"}", "invalid"),
        (b"{\"key\":\"a\x01\",\"value\":\"\"}", "control character"),
        (b"{\"key\":\"a\",\"value\":\"\",\"expires_at_ms\":-1}", "its expires_at_ms is no number"),
        (b"{\"key\":\"a\",\"value\":\"\",\"expires_at_ms\":1.5}", "its expires_at_ms is no number"),
        (b"{\"key\":\"a\",\"value\":{\"b\":}}", "expected value"),
    ];
    let (_sim, database) = database();
    for (number, (line, expected)) in cases.iter().enumerate() {
        let mut input = good.as_bytes().to_vec();
        input.extend_from_slice(line);
        let end = input.len() as u64;
        let to = table(&database, &format!("stop {number}"));
        let (record, offset, reason) = input_error(import(&to, &input, &ImportOptions::new()));
        assert_eq!((record, offset), (2, good.len() as u64), "{reason}");
        assert!(reason.contains(expected), "{reason:?} instead of {expected:?}");
        assert_eq!(contents(&to).len(), 1, "what comes before is there");
        // Passed over, up to a maximum.
        input.extend_from_slice(b"\n{\"key\":\"last\",\"value\":\"1\"}");
        let to = table(&database, &format!("skip {number}"));
        let report = import(&to, &input, &ImportOptions::new().skip_malformed(1)).expect("imported");
        assert_eq!((report.records, report.malformed, report.position.records), (2, 1, 3), "{reason}");
        input.extend_from_slice(b"\n}\n");
        let (record, ..) = input_error(import(&to, &input, &ImportOptions::new().skip_malformed(1)));
        assert_eq!(record, 4);
        assert!(end < input.len() as u64);
    }
    let long = [b"{\"key\":\"", &[b'k'; 65_536][..], b"\",\"value\":\"\"}"].concat();
    let to = table(&database, "long");
    let (_, _, reason) = input_error(import(&to, &long, &ImportOptions::new()));
    assert!(reason.contains("65536 bytes"), "{reason}");
}

#[test]
fn lines_may_have_a_byte_order_mark_carriage_returns_and_gaps() {
    let (_sim, database) = database();
    let to = table(&database, "t");
    let input = "\u{feff}{\"key\":\"a\",\"value\":1}\r\n\r\n \t\n{ \"value\" : [ 1 ] , \"key\" : \"b\" }\r\n{\"key\":\"c\",\"value\":\"\\u00e4\\n\"}";
    let report = to.import(&mut input.as_bytes(), &ImportOptions::new(), Watcher::none()).expect("imported");
    assert_eq!(report.records, 3);
    let expected = [(&b"a"[..], &b"1"[..]), (b"b", b"[ 1 ]"), (b"c", "ä\n".as_bytes())];
    assert_eq!(contents(&to), expected.map(|(key, value)| (key.to_vec(), value.to_vec())).into());
    for empty in ["", "\n", "\r\n\n", "\u{feff}"] {
        let report =
            to.import(&mut empty.as_bytes(), &ImportOptions::new(), Watcher::none()).expect("imported");
        assert_eq!(report.records, 0);
    }
    // Strings are JSON too where that is asked for, and encodings hold for fields without a mark.
    let input = b"{\"key\":\"61\",\"value\":\"text\"}\n{\"key_base64\":\"Yg==\",\"value\":null}\n";
    let options = ImportOptions::new().key_encoding(Encoding::Hex).value_encoding(Encoding::Json);
    import(&to, input, &options).expect("imported");
    assert_eq!(to.get(b"a").expect("read").as_deref(), Some(&b"\"text\""[..]));
    assert_eq!(to.get(b"b").expect("read").as_deref(), Some(&b"null"[..]));
}

#[test]
fn malformed_csv_is_named() {
    let (_sim, database) = database();
    let csv = ImportOptions::new().format(Format::Csv);
    let headers = [
        ("", "it is missing"),
        ("\n\n", "it is missing"),
        ("key", "no column value"),
        ("value\n", "no column key"),
        ("key,value,key\n", "besides another"),
        ("key,key_hex,value\n", "besides another"),
        ("key,value,expires_at_ms,expires_at_ms\n", "besides another"),
        ("key,value,colour\n", "no column \"colour\""),
        ("key;value\n", "no column \"key;value\""),
        ("key,value,,,,,,,,,,,,,,,,,,,,,,\n", "more than 16 fields"),
        ("key,\"value\n", "a quoted field does not end"),
        ("key,ä\n", "no column"),
    ];
    for (number, (header, expected)) in headers.iter().enumerate() {
        let to = table(&database, &format!("header {number}"));
        let (record, _, reason) = input_error(import(&to, header.as_bytes(), &csv));
        assert_eq!(record, 0, "{reason}");
        assert!(reason.contains(expected), "{reason:?} instead of {expected:?}");
    }
    let header = "key,value,expires_at_ms\r\n";
    let rows: &[(&[u8], &str)] = &[
        (b"a", "it has 1 fields, the header has 3"),
        (b"a,b,c,d", "its"),
        (b"a,b,,", "it has 4 fields"),
        (b",b,", "the key is empty"),
        (b"a,b,never", "its expires_at_ms is no number"),
        (b"a,b,-1", "its expires_at_ms is no number"),
        (b"a,\xff,", "its value is not UTF-8"),
        (b"a,\"b", "a quoted field does not end"),
        (b"a\"b,\"c,", "inside a field that is not quoted"),
    ];
    for (number, (row, expected)) in rows.iter().enumerate() {
        let expected = if *expected == "its" { "it has 4 fields" } else { expected };
        let input = [header.as_bytes(), b"good,1,\r\n", row].concat();
        let to = table(&database, &format!("row {number}"));
        let (record, offset, reason) = input_error(import(&to, &input, &csv));
        if !(expected.contains("inside") && reason.contains("does not end")) {
            assert!(reason.contains(expected), "{reason:?} instead of {expected:?}");
        }
        assert_eq!((record, offset), (2, header.len() as u64 + 9), "{reason}");
        assert_eq!(contents(&to).len(), 1);
    }
    // A mark inside a field that closes in a later line: found where the record is taken apart.
    let input = b"key,value\na\"b,c\nd\"e,f\n\"last\",\"1\"\n";
    let to = table(&database, "inside");
    let (record, _, reason) = input_error(import(&to, input, &csv));
    assert!(record == 1 && reason.contains("inside a field that is not quoted"), "{reason}");
    let report = import(&to, input, &csv.clone().skip_malformed(1)).expect("imported");
    assert_eq!((report.records, report.malformed), (1, 1));
    assert_eq!(to.get(b"last").expect("read").as_deref(), Some(&b"1"[..]));
    // What is allowed: a mark, blanks, quoted line breaks, no line break at the end, empty lines, other encodings.
    let input = "\u{feff}value_encoding,\"key\",value,key_encoding\r\n\r\nhex,a,62,text\nbase64,62,Yw==,hex\ntext,\" c\r\n\",\"\"\"\",text";
    let to = table(&database, "allowed");
    let report = to.import(&mut input.as_bytes(), &csv, Watcher::none()).expect("imported");
    assert_eq!(report.records, 3);
    let expected = [(&b"a"[..], &b"b"[..]), (b"b", b"c"), (b" c\r\n", b"\"")];
    assert_eq!(contents(&to), expected.map(|(key, value)| (key.to_vec(), value.to_vec())).into());
    let input = b"key,value,value_encoding\na,b,rot13\n";
    let (record, _, reason) = input_error(import(&to, input, &csv));
    assert!(record == 1 && reason.contains("no encoding \"rot13\""), "{reason}");
}

/// A reader without an end and without a line break.
struct Endless {
    start: Vec<u8>,
    byte: [u8; 4096],
    given: u64,
    most: u64,
}

impl Read for Endless {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let some = self.fill_buf()?;
        let length = some.len().min(buffer.len());
        buffer[..length].copy_from_slice(&some[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for Endless {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if !self.start.is_empty() {
            return Ok(&self.start);
        }
        Ok(if self.given < self.most { &self.byte } else { &[] })
    }

    fn consume(&mut self, bytes: usize) {
        self.given += bytes as u64;
        if !self.start.is_empty() {
            self.start.drain(..bytes);
        }
    }
}

#[test]
fn a_record_that_never_ends_takes_no_memory_and_ends_the_import() {
    let (_sim, database) = database();
    let to = table(&database, "t");
    let starts = [
        (Format::JsonLines, &b"{\"key\":\"k\",\"value\":\""[..], b'x'),
        (Format::JsonLines, b"{\"key\":\"k\",\"value\":", b'['),
        (Format::Csv, b"key,value\n", b'x'),
        (Format::Csv, b"key,value\nk,\"", b'x'),
        (Format::Csv, b"key,value\n", b'"'),
        (Format::Csv, b"", b','),
    ];
    for (format, start, byte) in starts {
        let most = 256 << 20;
        let mut input = Endless { start: start.to_vec(), byte: [byte; 4096], given: 0, most };
        let options = ImportOptions::new().format(format).record_bytes_max(100_000);
        let (_, _, reason) = input_error(to.import(&mut input, &options, Watcher::none()));
        assert!(reason.contains("at most 100000 are allowed"), "{format:?}: {reason}");
        assert!(input.given < 110_000, "{format:?}: read for {}", input.given);
    }
    // A line that is as long as is allowed, and one byte longer.
    let line = b"{\"key\":\"k\",\"value\":\"v\"}\n";
    let options = |most: usize| ImportOptions::new().record_bytes_max(most as u64);
    assert!(import(&to, line, &options(line.len())).is_ok());
    input_error(import(&to, line, &options(line.len() - 1)));
    let outcome = import(&to, line, &options(0));
    assert!(matches!(outcome, Err(Error::InvalidArgument { .. })));
    // Lengths of a dump are not believed.
    let dump = export(&to, &ExportOptions::new().format(Format::Dump));
    let frame = 48;
    for length in [u32::MAX, (2 << 20) + 1] {
        let mut hostile = dump.clone();
        hostile[frame..frame + 4].copy_from_slice(&length.to_le_bytes());
        let (.., reason) = input_error(import(&to, &hostile, &ImportOptions::new().format(Format::Dump)));
        assert!(reason.contains("length is out of range"), "{reason}");
    }
}

#[test]
fn every_flipped_bit_and_every_cut_of_a_dump_is_noticed() {
    let (_sim, database) = database();
    let from = table(&database, "from");
    from.put(b"first", b"one").expect("put");
    from.put_with(b"second", b"two", WriteOptions::new().ttl(Duration::from_secs(3_600))).expect("put");
    let dump = export(&from, &ExportOptions::new().format(Format::Dump).versions(true));
    let options = ImportOptions::new().format(Format::Dump).sync(false);
    let to = table(&database, "to");
    for bit in 0..dump.len() * 8 {
        let mut flipped = dump.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        let (record, offset, _) = input_error(import(&to, &flipped, &options));
        assert!(record <= 3 && offset <= bit as u64 / 8, "bit {bit}: record {record} at {offset}");
        for (key, value) in contents(&to) {
            assert_eq!(from.get(&key).expect("read").as_ref(), Some(&value), "bit {bit}");
        }
        // Passed over or an error, but never something else than what was dumped.
        let _ = import(&to, &flipped, &options.clone().skip_malformed(100));
        assert!(
            contents(&to).iter().all(|(key, value)| from.get(key).expect("read").as_ref() == Some(value))
        );
    }
    for length in 0..dump.len() {
        let (.., reason) = input_error(import(&to, &dump[..length], &options));
        assert!(reason.contains("cut short") || reason.contains("no dump"), "cut to {length}: {reason}");
    }
    // A record in another place, or of another dump, is none.
    let report = import(&to, &dump, &options).expect("whole");
    assert_eq!((report.records, report.position.offset), (2, dump.len() as u64));
    // What follows the end mark is not read.
    let mut two = &[&dump[..], b"more"].concat()[..];
    to.import(&mut two, &options, Watcher::none()).expect("whole");
    assert_eq!(two, b"more");
}

/// Input that somebody has cut, repeated and scribbled on.
#[test]
fn no_input_does_harm() {
    for_each_seed("transfer", 40, |seed| {
        let (_sim, database) = database();
        let mut random = Random::new(seed);
        let from = table(&database, "from");
        fill(&from, &mut random);
        for (number, format) in FORMATS.into_iter().enumerate() {
            let auto = ExportOptions::new().format(format).key_encoding(Encoding::Auto);
            let mut bytes = export(&from, &auto.value_encoding(Encoding::Auto));
            for _ in 0..1 + random.below(20) {
                let at = random.below(bytes.len() as u64) as usize;
                let end = (at + random.below(200) as usize).min(bytes.len());
                match random.below(4) {
                    0 => drop(bytes.drain(at..end)),
                    1 => bytes.extend_from_within(at..end),
                    2 => bytes[at] = b"\"\\,\n\r{}[]:\0\xff"[random.below(12) as usize],
                    _ => bytes.truncate(bytes.len().saturating_sub(random.below(50) as usize).max(1)),
                }
            }
            let to = table(&database, &format!("to {number}"));
            let report = ReportHandle::new();
            let options = ImportOptions::new().format(format).skip_malformed(random.below(1_000));
            match import(&to, &bytes, &options.if_exists(IfExists::Skip).report_to(&report)) {
                Ok(_) | Err(Error::Input { .. }) => {}
                outcome => panic!("{outcome:?}"),
            }
            let report = report.get();
            assert_eq!(report.records, to.len(), "what is counted is what is there");
            assert_eq!(report.records + report.existing + report.malformed, report.position.records);
            assert!(report.position.offset <= bytes.len() as u64);
        }
    });
}

#[test]
fn frames_that_were_moved_repeated_or_taken_out_are_noticed() {
    let (_sim, database) = database();
    let from = database.table("from", TableOptions::new().ordered(true)).expect("a table");
    for key in [b"a", b"b", b"c"] {
        from.put(key, b"same length").expect("put");
    }
    let dump = export(&from, &ExportOptions::new().format(Format::Dump));
    // The frames, by their lengths.
    let (mut frames, mut at) = (Vec::new(), 48);
    while at < dump.len() {
        let length = 9 + u32::from_le_bytes(dump[at..at + 4].try_into().expect("four")) as usize;
        frames.push(&dump[at..at + length]);
        at += length;
    }
    assert_eq!(frames.len(), 5, "a table, three records, an end");
    let with = |order: &[usize]| {
        let parts: Vec<&[u8]> = order.iter().map(|frame| frames[*frame]).collect();
        [&dump[..48], &parts.concat()].concat()
    };
    assert_eq!(with(&[0, 1, 2, 3, 4]), dump);
    let options = ImportOptions::new().format(Format::Dump);
    let to = table(&database, "to");
    for order in [
        &[0, 2, 1, 3, 4][..],
        &[0, 1, 3, 4],
        &[0, 1, 1, 2, 3, 4],
        &[0, 1, 2, 4],
        &[0, 4],
        &[1, 2, 3, 4],
        &[0, 1, 2, 3],
    ] {
        let (record, ..) = input_error(import(&to, &with(order), &options));
        assert!(record <= 4, "{order:?}");
    }
    let other = export(&table(&database, "to"), &ExportOptions::new().format(Format::Dump));
    let spliced = [&dump[..48], &other[48..]].concat();
    input_error(import(&to, &spliced, &options));
    for no_dump in [&b""[..], b"AtomKV", b"{\"key\":1}", &[0; 200]] {
        let (record, offset, reason) = input_error(import(&to, no_dump, &options));
        assert!((record, offset) == (0, 0) && reason.contains("no dump"), "{reason}");
    }
}

#[test]
fn large_documents_go_in_pieces() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = Database::open(directory.path().join("db"), Options::new()).expect("opens");
    let from = database.table("from", TableOptions::new().ordered(true)).expect("a table");
    let mut random = Random::new(3);
    let lengths = [0, 65_536, 65_537, 1 << 20, (1 << 20) + 1, (16 << 20) - 5, (16 << 20) + 5, 40 << 20];
    for length in lengths {
        from.put(format!("put {length:09}").as_bytes(), &random.bytes(length)).expect("put");
        let mut writer = from.write_stream(format!("streamed {length:09}").as_bytes()).expect("begun");
        writer.append(&random.bytes(length)).expect("written");
        writer.finish_with(WriteOptions::new().ttl(Duration::from_secs(3_600))).expect("finished");
    }
    // As much as LZ4 can do: a few bytes in the log.
    from.put(b"zeros", &vec![0; 30 << 20]).expect("put");
    let same = |one: &Table, other: &Table| {
        assert_eq!(one.len(), other.len());
        for (key, _) in
            one.scan(ScanOptions::new().keys_only(true)).expect("scanned").map(|pair| pair.expect("read"))
        {
            let entries = [one, other].map(|table| table.get_entry(&key).expect("read").expect("there"));
            assert!(entries[0].value == entries[1].value, "{:?}", String::from_utf8_lossy(&key));
            assert_eq!(entries[0].expires_at_ms, entries[1].expires_at_ms);
        }
    };
    for format in FORMATS {
        let encoding = if format == Format::Csv { Encoding::Base64 } else { Encoding::Auto };
        let bytes = export(&from, &ExportOptions::new().format(format).value_encoding(encoding));
        let to = table(&database, &format!("{format:?}"));
        // Six bytes for each zero in JSON.
        let options = ImportOptions::new().format(format).record_bytes_max(256 << 20);
        for (records, existing) in [(17, 0), (0, 17)] {
            let options = options.clone().if_exists(IfExists::Skip);
            let report = to.import(&mut &bytes[..], &options, Watcher::none()).expect("imported");
            assert_eq!((report.records, report.existing), (records, existing));
            same(&from, &to);
        }
        let report = to.import(&mut &bytes[..], &options, Watcher::none()).expect("replaced");
        assert_eq!(report.records, 17);
        same(&from, &to);
        if format == Format::Dump {
            large_documents_are_cut(&database, &from, &bytes);
        }
    }
    database.close().expect("closes");
}

#[test]
#[ignore = "writes 5 GiB: cargo test --release --test engine -- --ignored --nocapture two_gibibytes"]
fn a_document_of_more_than_two_gibibytes_goes_through_a_dump() {
    let directory = tempfile::tempdir().expect("a directory");
    let database = Database::open(directory.path().join("db"), Options::new()).expect("opens");
    let (from, to) = (table(&database, "from"), table(&database, "to"));
    let length = (2_u64 << 30) + 12_345;
    let mebibyte = |number: u64| Random::new(number).bytes(1 << 20);
    let mut writer = from.write_stream(b"large").expect("begun");
    for number in 0..=length >> 20 {
        let left = (length - (number << 20)).min(1 << 20) as usize;
        writer.append(&mebibyte(number)[..left]).expect("written");
    }
    writer.finish().expect("finished");
    let (read, mut write) = io::pipe().expect("a pipe");
    std::thread::scope(|scope| {
        let options = ExportOptions::new().format(Format::Dump);
        let from = &from;
        let exported = scope.spawn(move || from.export(&mut write, &options, Watcher::none()));
        let options = ImportOptions::new().format(Format::Dump);
        let report = to.import(&mut BufReader::new(read), &options, Watcher::none()).expect("imported");
        assert_eq!(report.records, 1);
        exported.join().expect("no panic").expect("exported");
    });
    let mut reader = to.read_stream(b"large").expect("read").expect("there");
    assert_eq!(reader.len(), length);
    for number in 0..=length >> 20 {
        let mut bytes = mebibyte(number);
        bytes.truncate((length - (number << 20)).min(1 << 20) as usize);
        let mut found = vec![0; bytes.len()];
        reader.read_exact(&mut found).expect("read");
        assert!(found == bytes, "mebibyte {number}");
    }
    for format in [Format::JsonLines, Format::Csv] {
        let options = ExportOptions::new().format(format).value_encoding(Encoding::Base64);
        let refused = from.export(&mut io::sink(), &options, Watcher::none()).expect_err("too large");
        assert!(refused.to_string().contains("2147495993 bytes"), "{refused}");
        let options = options.skip_large(true);
        let report = from.export(&mut io::sink(), &options, Watcher::none()).expect("exported");
        assert_eq!((report.records, report.too_large), (0, 1));
    }
    println!("transfer: {:?} of memory at most", peak_memory());
}

/// As the system tells it.
fn peak_memory() -> Option<String> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find(|line| line.starts_with("VmHWM")).map(str::to_string)
}

/// Damage, a cut and a watcher in the middle of pieces.
fn large_documents_are_cut(database: &Database, from: &Table, dump: &[u8]) {
    let to = table(database, "cut");
    let options = ImportOptions::new().format(Format::Dump);
    let at = dump.windows(18).position(|bytes| bytes == b"streamed 041943040").expect("there");
    let (.., reason) = input_error(to.import(&mut &dump[..at + (20 << 20)], &options, Watcher::none()));
    assert!(reason.contains("cut short"), "{reason}");
    assert_eq!(to.get(b"streamed 041943040").expect("read"), None);
    assert_eq!(to.len(), 15, "all before");

    let mut damaged = dump.to_vec();
    damaged[at + (20 << 20)] ^= 1;
    let to = table(database, "damaged");
    let (record, offset, _) = input_error(to.import(&mut &damaged[..], &options, Watcher::none()));
    assert!(
        record == 16 && offset < at as u64 && offset > at as u64 - 50,
        "the record's own place: {offset} {at}"
    );
    let report =
        to.import(&mut &damaged[..], &options.clone().skip_malformed(1), Watcher::none()).expect("imported");
    assert_eq!((report.records, report.malformed), (16, 1));
    assert_eq!(to.len(), from.len() - 1);
    assert!(to.contains(b"zeros").expect("read"), "what comes behind");

    let to = table(database, "cancelled");
    let report = ReportHandle::new();
    let options = options.report_to(&report);
    let mut left = 1;
    let watcher = Watcher::new(|_| {
        left -= 1;
        if left < 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    // Slow enough for the watcher to be asked in between.
    struct Slow<'a>(&'a [u8]);
    impl Read for Slow<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            std::thread::sleep(Duration::from_millis(2));
            self.0.read(buffer)
        }
    }
    let mut slow = BufReader::with_capacity(1 << 20, Slow(dump));
    assert!(matches!(to.import(&mut slow, &options, watcher), Err(Error::Cancelled)));
    let before = report.get().position;
    assert_eq!(to.len(), before.records);
    let options = options.resume(before).if_exists(IfExists::Fail);
    to.import(&mut &dump[..], &options, Watcher::none()).expect("goes on");
    assert_eq!(to.len(), from.len());
}

#[test]
fn a_cancelled_import_goes_on() {
    let (_sim, database) = database();
    let from = table(&database, "from");
    for number in 0..10_000_u32 {
        from.put(format!("key {number}").as_bytes(), &number.to_be_bytes()).expect("put");
    }
    for format in FORMATS {
        let options = ExportOptions::new().format(format).value_encoding(Encoding::Hex);
        let bytes = export(&from, &options);
        let to = table(&database, &format!("{format:?}"));
        let report = ReportHandle::new();
        let (mut resume, mut rounds) = (Position::default(), 0);
        loop {
            let options = ImportOptions::new().format(format).if_exists(IfExists::Fail).report_to(&report);
            // A watcher is asked at most each 50 ms, so the reader takes its time.
            struct Slow<'a>(&'a [u8], usize);
            impl Read for Slow<'_> {
                fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                    self.1 += 1;
                    if self.1.is_multiple_of(8) {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    self.0.read(buffer)
                }
            }
            let mut slow = BufReader::with_capacity(4096, Slow(&bytes, 0));
            let mut asked = 0;
            let watcher = Watcher::new(|progress| {
                asked += 1;
                assert!(progress.records <= 10_000 && progress.bytes <= bytes.len() as u64);
                if rounds < 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
            });
            let outcome = to.import(&mut slow, &options.resume(resume), watcher);
            let so_far = report.get();
            assert_eq!(so_far.position.records, to.len(), "{format:?}");
            assert_eq!(so_far.records, so_far.position.records - resume.records);
            assert_eq!(so_far.bytes, so_far.position.offset - if rounds == 0 { 0 } else { resume.offset });
            resume = so_far.position;
            rounds += 1;
            match outcome {
                Ok(_) => break,
                Err(error) => assert!(matches!(error, Error::Cancelled), "{error}"),
            }
        }
        assert_eq!(rounds, 4);
        assert!(contents(&to) == contents(&from), "{format:?}");
        // The same by counting.
        let again = table(&database, &format!("counted {format:?}"));
        let report = import(&again, &bytes, &ImportOptions::new().format(format).skip_records(9_990))
            .expect("imported");
        assert_eq!((report.records, report.position.records, again.len()), (10, 10_000, 10));
        let outcome = import(&again, &bytes, &ImportOptions::new().format(format).skip_records(10_001));
        assert!(matches!(outcome, Err(Error::InvalidArgument { .. })), "{outcome:?}");
        // At the end there is nothing more, beyond it is an error.
        let end = Position { records: 10_000, offset: bytes.len() as u64 };
        let options = ImportOptions::new().format(format);
        if format != Format::Dump {
            assert_eq!(import(&again, &bytes, &options.clone().resume(end)).expect("nothing").records, 0);
        }
        for offset in [end.offset + 1, u64::MAX] {
            let outcome = import(&again, &bytes, &options.clone().resume(Position { offset, ..end }));
            assert!(
                matches!(outcome, Err(Error::InvalidArgument { .. } | Error::Input { .. })),
                "{outcome:?}"
            );
        }
    }
}

#[test]
fn a_reader_that_fails_leaves_what_came_before() {
    struct Breaking<'a>(&'a [u8]);
    impl Read for Breaking<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.read(buffer) {
                Ok(0) => Err(io::Error::other("the line went dead")),
                outcome => outcome,
            }
        }
    }
    let (_sim, database) = database();
    let to = table(&database, "t");
    let lines: String = (0..1_500).map(|n| format!("{{\"key\":\"{n}\",\"value\":\"\"}}\n")).collect();
    let report = ReportHandle::new();
    let mut reader = BufReader::new(Breaking(&lines.as_bytes()[..lines.len() - 3]));
    let outcome = to.import(&mut reader, &ImportOptions::new().report_to(&report), Watcher::none());
    let error = outcome.expect_err("dead");
    assert!(error.to_string().contains("cannot read the input: the line went dead"), "{error}");
    assert_eq!((to.len(), report.get().position.records), (1_499, 1_499));
    let options = ImportOptions::new().resume(report.get().position).if_exists(IfExists::Fail);
    assert_eq!(import(&to, lines.as_bytes(), &options).expect("imported").records, 1);
}

#[test]
fn the_table_refuses_keys_as_everywhere() {
    #[derive(Debug)]
    struct Short;
    impl KeyValidator for Short {
        fn identity(&self) -> Identity {
            Identity::new("short", 1)
        }
        fn validate(&self, key: &[u8]) -> std::result::Result<(), String> {
            if key.len() < 4 { Ok(()) } else { Err("it is too long for me".to_string()) }
        }
    }
    let (_sim, database) = database();
    let services = Services::new().with_validator(Short);
    let to = database.table("t", TableOptions::new().services(services.clone())).expect("a table");
    let input = b"{\"key\":\"abc\",\"value\":\"\"}\n{\"key\":\"abcd\",\"value\":\"\"}\n";
    let (record, offset, reason) = input_error(import(&to, input, &ImportOptions::new()));
    assert!((record, offset) == (2, 25) && reason.contains("too long for me"), "{reason}");
    // Whoever dumps or loads such a table has its services.
    let refused = database.dump(&mut io::sink(), &DumpOptions::new(), Watcher::none());
    let Err(Error::InvalidArgument { reason }) = refused else { panic!("{refused:?}") };
    assert!(reason.contains("validator of its own, \"short\""), "{reason}");
    let mut dump = Vec::new();
    let options = DumpOptions::new().services("t", services.clone());
    database.dump(&mut dump, &options, Watcher::none()).expect("dumped");
    let other = Database::open(Path::new("/sim/other"), sim_options(&SimStorage::new(2), 4)).expect("opens");
    let refused = other.load_dump(&mut &dump[..], &ImportOptions::new(), Watcher::none());
    assert!(matches!(refused, Err(Error::InvalidArgument { .. })), "{refused:?}");
    let refused = other.load_dump(
        &mut &dump[..],
        &ImportOptions::new().services("t", Services::new()),
        Watcher::none(),
    );
    assert!(matches!(refused, Err(Error::ServicesMismatch { .. })), "{refused:?}");
    other
        .load_dump(&mut &dump[..], &ImportOptions::new().services("t", services.clone()), Watcher::none())
        .expect("loaded");
    assert!(other.open_table("t", services).expect("there").contains(b"abc").expect("read"));
}

#[test]
fn a_dump_restores_all_tables_as_they_were_defined() {
    let (_sim, database) = database();
    let hour = Duration::from_secs(3_600);
    let services = || Services::new().with_sharder(RedisSlots).with_compressor(Gzip);
    let definitions: [(&str, TableOptions); 4] = [
        ("plain", TableOptions::new()),
        ("ordered", TableOptions::new().ordered(true).partitions(3).durability(Durability::Sync)),
        ("kept", TableOptions::new().retention(Retention::Duration(hour)).ttl(2 * hour)),
        (
            "with services, ünïcode",
            TableOptions::new().services(services()).retention(Retention::Versions(7)).partitions(1),
        ),
    ];
    let mut random = Random::new(5);
    for (name, options) in &definitions {
        let table = database.table(name, options.clone()).expect("a table");
        fill(&table, &mut random);
        for number in 0..2_000_u32 {
            table.put(format!("{name} {number}").as_bytes(), &random.bytes(100)).expect("put");
        }
    }
    database.table("empty", TableOptions::new()).expect("a table");
    let mut dump = Vec::new();
    let report =
        database.dump(&mut dump, &DumpOptions::new().versions(true), Watcher::none()).expect("dumped");
    let expected: u64 = database.stats().keys;
    assert_eq!((report.records, report.bytes), (expected, dump.len() as u64));

    let copy = Database::open(Path::new("/sim/copy"), sim_options(&SimStorage::new(2), 5)).expect("opens");
    let report = copy.load_dump(&mut &dump[..], &ImportOptions::new(), Watcher::none()).expect("loaded");
    assert_eq!(report.records, expected);
    assert_eq!(copy.table_names(), database.table_names());
    for (name, options) in &definitions {
        // Opening with other settings would be an error, so this compares them.
        let from = database.table(name, options.clone()).expect("a table");
        let to = copy.table(name, options.clone()).expect("the same settings");
        assert!(contents(&from) == contents(&to), "{name}");
        assert_eq!(from.partitions(), to.partitions());
        if *name == "kept" {
            let (one, other) = (from.get_entry(b"kept 0"), to.get_entry(b"kept 0"));
            let expiry = |entry: Result<Option<atomkv_engine::Entry>>| {
                entry.expect("read").expect("there").expires_at_ms
            };
            assert_eq!(expiry(one), expiry(other));
            to.put(b"by default", b"").expect("put");
            assert!(expiry(to.get_entry(b"by default")).is_some(), "the table's own ttl");
        }
        if *name == "ordered" {
            let keys: Vec<Vec<u8>> = to.iter().map(|pair| pair.expect("read").0).collect();
            assert!(keys.is_sorted());
        }
    }
    // Again into the same: replaced, skipped, refused.
    let again = copy.load_dump(&mut &dump[..], &ImportOptions::new(), Watcher::none()).expect("loaded");
    assert_eq!(again.records, expected);
    let skip = ImportOptions::new().if_exists(IfExists::Skip);
    let again = copy.load_dump(&mut &dump[..], &skip, Watcher::none()).expect("loaded");
    assert_eq!((again.records, again.existing), (0, expected));
    // Into a table of one's own, by name; not without the name.
    let mine = copy.table("mine", TableOptions::new()).expect("a table");
    let options = ImportOptions::new().format(Format::Dump);
    let (record, _, reason) = input_error(mine.import(&mut &dump[..], &options, Watcher::none()));
    assert!(record == 0 && reason.contains("5 tables"), "{reason}");
    let elsewhere =
        Database::open(Path::new("/sim/third"), sim_options(&SimStorage::new(3), 6)).expect("opens");
    let ordered = elsewhere.table("ordered", TableOptions::new()).expect("a table");
    let report = ordered.import(&mut &dump[..], &options, Watcher::none()).expect("imported");
    assert_eq!((report.records, report.position.records), (ordered.len(), expected));
    let refused = elsewhere.load_dump(&mut &dump[..], &ImportOptions::new(), Watcher::none());
    assert!(matches!(refused, Err(Error::TableMismatch { .. })), "{refused:?}");
    // Some tables only.
    let mut part = Vec::new();
    let options = DumpOptions::new().table("plain").table("empty").table("plain");
    let report = database.dump(&mut part, &options, Watcher::none()).expect("dumped");
    assert_eq!(report.records, database.open_table("plain", Services::new()).expect("there").len());
    let refused = database.dump(&mut part, &DumpOptions::new().table("none"), Watcher::none());
    assert!(matches!(refused, Err(Error::TableNotFound { .. })));
}

#[test]
fn a_full_disk_ends_an_import_and_the_bookmark_knows_where() {
    let sim = SimStorage::new(5);
    let path = Path::new("/full");
    let database = Database::open(path, sim_options(&sim, 4)).expect("opens");
    let (to, marks) = (table(&database, "t"), table(&database, "marks"));
    let mut random = Random::new(1);
    let from = {
        let (_sim, other) = self::database();
        let from = table(&other, "from");
        for number in 0..5_000_u32 {
            from.put(&number.to_be_bytes(), &random.bytes(500)).expect("put");
        }
        (export(&from, &ExportOptions::new().format(Format::Dump)), contents(&from))
    };
    sim.capacity(Some(sim.used() + (1 << 20)));
    let options =
        ImportOptions::new().format(Format::Dump).if_exists(IfExists::Fail).bookmark(&marks, b"import");
    let error = to.import(&mut &from.0[..], &options, Watcher::none()).expect_err("full");
    assert!(matches!(error, Error::NoSpace { .. }), "{error}");
    let done = to.len();
    assert!((1..5_000).contains(&done), "{done}");
    assert!(database.stats().read_only.is_none());
    let mark = String::from_utf8(marks.get(b"import").expect("read").expect("a mark")).expect("text");
    assert_eq!(mark.parse::<Position>().expect("a position").records, done);
    // Another life, and more room.
    sim.capacity(None);
    sim.process_death();
    drop((to, marks, database, options));
    let database = Database::open(path, sim_options(&sim, 4)).expect("opens");
    let (to, marks) = (table(&database, "t"), table(&database, "marks"));
    let options =
        ImportOptions::new().format(Format::Dump).if_exists(IfExists::Fail).bookmark(&marks, b"import");
    let report = to.import(&mut &from.0[..], &options, Watcher::none()).expect("goes on");
    assert_eq!(report.records, 5_000 - done);
    assert!(contents(&to) == from.1);
    assert!(marks.is_empty(), "the bookmark is gone at the end");
    // What is under the key must be a position, and the table of this database.
    marks.put(b"import", b"nonsense").expect("put");
    let outcome = to.import(&mut &from.0[..], &options, Watcher::none());
    assert!(matches!(outcome, Err(Error::InvalidArgument { .. })), "{outcome:?}");
    let (_sim, other) = self::database();
    let options = ImportOptions::new().bookmark(&table(&other, "t"), b"import");
    let outcome = to.import(&mut &b""[..], &options, Watcher::none());
    assert!(matches!(outcome, Err(Error::InvalidArgument { .. })), "{outcome:?}");
}

/// What came between the two made every later run of the import fail: its own document was there already.
#[test]
fn a_large_document_and_the_bookmark_behind_it_are_one_commit() {
    let (_sim, other) = self::database();
    let from = table(&other, "from");
    let mut writer = from.write_stream(b"large").expect("begun");
    (0..18).for_each(|number| writer.append(&vec![number; 1 << 20]).expect("written"));
    writer.finish().expect("finished");
    let dump = export(&from, &ExportOptions::new().format(Format::Dump));
    let (_sim, database) = self::database();
    let to = table(&database, "t");
    let marks = database.table("marks", TableOptions::new().retention(Retention::All)).expect("a table");
    let options =
        ImportOptions::new().format(Format::Dump).if_exists(IfExists::Fail).bookmark(&marks, b"import");
    to.import(&mut &dump[..], &options, Watcher::none()).expect("imported");
    let sequence = to.get_entry(b"large").expect("read").expect("there").sequence;
    let history = marks.history(b"import").expect("read");
    assert!(history.iter().any(|version| version.sequence == sequence), "{sequence}: {history:?}");
    assert!(contents(&to) == contents(&from));
}

/// The child: imports a file with a bookmark, again and again the same call.
#[test]
#[ignore = "the other half of the test below, which runs it in a process of its own"]
fn import_child() {
    let Ok(directory) = std::env::var("ATOMKV_IMPORT") else { return };
    let directory = Path::new(&directory);
    let database = Database::open(directory.join("db"), Options::new()).expect("opens");
    let (to, marks) = (table(&database, "t"), table(&database, "marks"));
    let options = ImportOptions::new().if_exists(IfExists::Fail).bookmark(&marks, b"import");
    let file = std::fs::File::open(directory.join("input.jsonl")).expect("the input");
    /// Tells of every 64 KiB, more than a commit, so that the parent knows that something is there.
    struct Telling(std::fs::File);
    impl Read for Telling {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            println!("reads");
            self.0.read(buffer)
        }
    }
    let mut reader = BufReader::with_capacity(64 << 10, Telling(file));
    to.import(&mut reader, &options, Watcher::none()).expect("imported");
    database.close().expect("closes");
}

#[test]
fn an_import_that_is_killed_goes_on_without_doing_anything_twice() {
    const RECORDS: u64 = 200_000;
    let directory = tempfile::tempdir().expect("a directory");
    let mut file =
        io::BufWriter::new(std::fs::File::create(directory.path().join("input.jsonl")).expect("a file"));
    for number in 0..RECORDS {
        writeln!(file, "{{\"key\":\"key {number}\",\"value\":{{\"number\":{number}}}}}").expect("written");
    }
    file.into_inner().expect("written");
    let mut random =
        Random::new(std::env::var("ATOMKV_SEED").map_or(1, |seed| seed.parse().expect("a number")));
    let (mut rounds, mut cut) = (0, 0);
    loop {
        let mut child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", "transfer::import_child", "--ignored", "--nocapture", "--quiet"])
            .env("ATOMKV_IMPORT", directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("a child");
        let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
        if rounds < 6 {
            let mut left = 2 + random.below(20);
            while left > 0 {
                let line = lines.next().expect("the child reads").expect("a line");
                left -= u64::from(line.ends_with("reads"));
            }
            child.kill().expect("SIGKILL");
        }
        lines.for_each(drop);
        let status = child.wait().expect("dead");
        rounds += 1;
        let database = Database::open(directory.path().join("db"), Options::new()).expect("opens");
        let (to, marks) = (table(&database, "t"), table(&database, "marks"));
        let mark = marks.get(b"import").expect("read");
        let position =
            mark.map(|mark| String::from_utf8_lossy(&mark).parse::<Position>().expect("a position"));
        let is_partial = (1..RECORDS).contains(&to.len());
        cut += u64::from(is_partial);
        if is_partial {
            assert_eq!(position.expect("a bookmark").records, to.len(), "exactly what is there");
        }
        if to.len() == RECORDS && position.is_none() {
            assert!(rounds < 7 || status.success());
            for number in [0, 1, 999, 1_000, RECORDS / 2, RECORDS - 1] {
                let value = to.get(format!("key {number}").as_bytes()).expect("read").expect("there");
                assert_eq!(value, format!("{{\"number\":{number}}}").into_bytes());
            }
            break;
        }
        assert!(rounds < 8, "the last one runs to the end");
    }
    println!("transfer: {cut} of {rounds} imports were cut off in the middle");
    assert!(cut > 0, "no child was killed in the middle");
}

#[test]
fn a_load_is_what_puts_would_be() {
    let (sim, database) = database();
    let to =
        database.table("t", TableOptions::new().ordered(true).durability(Durability::Sync)).expect("a table");
    let mut random = Random::new(9);
    let pairs: Vec<(Vec<u8>, Vec<u8>)> = (0..5_000)
        .map(|_| ((random.below(2_000) as u16).to_be_bytes().to_vec(), common::value(&mut random)))
        .collect();
    let model: Model = pairs.iter().cloned().collect();
    let report = to.load(pairs.iter().map(|(key, value)| (key, value)), Watcher::none()).expect("loaded");
    assert_eq!(report.records, 5_000);
    assert_eq!(report.bytes, pairs.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum::<u64>());
    assert!(contents(&to) == model);
    // Synced at the end, as the table's default says.
    sim.power_loss();
    drop((to, database));
    let database = Database::open(Path::new("/sim/db"), sim_options(&sim, 4)).expect("opens");
    let to = database.table("t", TableOptions::new()).expect("a table");
    assert!(contents(&to) == model);
    // A pair that the table does not take: its commit is not there, those before are.
    let to = table(&database, "refused");
    let pairs = (0..2_500_u32)
        .map(|number| (if number == 2_100 { vec![] } else { number.to_be_bytes().to_vec() }, b""));
    assert!(matches!(to.load(pairs, Watcher::none()), Err(Error::KeyEmpty)));
    assert!((1_500..2_100).contains(&to.len()), "{}", to.len());
    assert_eq!(to.load(Vec::<(Vec<u8>, Vec<u8>)>::new(), Watcher::none()).expect("nothing").records, 0);
}

#[test]
fn a_load_can_have_an_expiry_a_durability_and_a_condition() {
    let (sim, database) = database();
    let to = table(&database, "t");
    assert_eq!(to.durability(), Durability::Buffered);
    let pairs = |from: u32| (from..from + 3_000).map(|number| (number.to_be_bytes(), b"v"));
    let far = 4_000_000_000_000;
    let options = WriteOptions::new().durability(Durability::Sync).expires_at_ms(far);
    let report = to.load_with(pairs(0), options, Watcher::none()).expect("loaded");
    assert_eq!(report.records, 3_000);
    sim.power_loss();
    drop((to, database));
    let database = Database::open(Path::new("/sim/db"), sim_options(&sim, 4)).expect("opens");
    let to = table(&database, "t");
    assert_eq!(to.len(), 3_000);
    let entry = to.get_entry(&7_u32.to_be_bytes()).expect("readable").expect("there");
    assert_eq!(entry.expires_at_ms, Some(far));
    // The first commit that meets a key is not there, those before are.
    let options = WriteOptions::new().expect(Expect::Absent);
    let outcome = to.load_with(
        (5_000..7_000).chain(2_999..3_000).map(u32::to_be_bytes).map(|key| (key, b"w")),
        options,
        Watcher::none(),
    );
    assert!(matches!(outcome, Err(Error::Conflict { key, .. }) if key == 2_999_u32.to_be_bytes()));
    assert!((4_000..5_000).contains(&to.len()), "{}", to.len());
    assert_eq!(to.get(&2_999_u32.to_be_bytes()).expect("readable").as_deref(), Some(&b"v"[..]));
}

/// Documents that are stored in far fewer bytes than they have, more of these than a frame may hold: the dump ended in a
/// panic.
#[test]
fn what_is_stored_in_few_bytes_goes_out_and_in() {
    let sim = SimStorage::new(1);
    let options = sim_options(&sim, 4).large_value_bytes(8 << 10);
    let database = Database::open(Path::new("/sim/db"), options).expect("opens");
    let table = database.table("t", TableOptions::new()).expect("a table");
    // In the log, and in a file of its own.
    let values = [(&b"record"[..], vec![7; 1 << 20]), (b"extent", vec![7; 5 << 20]), (b"short", vec![7; 5])];
    for (key, value) in &values {
        table.put(key, value).expect("put");
    }
    for format in FORMATS {
        let mut out = Vec::new();
        table.export(&mut out, &ExportOptions::new().format(format), Watcher::none()).expect("exported");
        let (_sim, other) = self::database();
        let copy = other.table("t", TableOptions::new()).expect("a table");
        copy.import(&mut &out[..], &ImportOptions::new().format(format), Watcher::none()).expect("imported");
        for (key, value) in &values {
            assert!(copy.get(key).expect("readable").as_ref() == Some(value), "{format:?} {key:?}");
        }
    }
}

/// The dump's time to live took the place of the table's.
#[test]
fn a_table_that_exists_keeps_its_time_to_live() {
    let (_sim, database) = database();
    let hour = |hours: u64| TableOptions::new().ttl(Duration::from_secs(3_600 * hours));
    database.table("short", hour(1)).expect("a table").put(b"k", b"v").expect("put");
    database.table("none", hour(1)).expect("a table").put(b"k", b"v").expect("put");
    let mut dump = Vec::new();
    database.dump(&mut dump, &DumpOptions::new(), Watcher::none()).expect("dumped");

    let sim = SimStorage::new(2);
    let copy = Database::open(Path::new("/sim/copy"), sim_options(&sim, 4)).expect("opens");
    let long = copy.table("short", hour(24)).expect("a table");
    let none = copy.table("none", TableOptions::new()).expect("a table");
    let options = ImportOptions::new().keep_expiry(false);
    copy.load_dump(&mut &dump[..], &options, Watcher::none()).expect("loaded");
    let entry = long.get_entry(b"k").expect("read").expect("there");
    let lives_ms = entry.expires_at_ms.expect("the table's") - entry.time_ms;
    assert!(lives_ms.abs_diff(24 * 3_600_000) < 1_000, "{lives_ms}");
    assert_eq!(none.get_entry(b"k").expect("read").expect("there").expires_at_ms, None);
    let other = Database::open(Path::new("/sim/other"), sim_options(&sim, 4)).expect("opens");
    other.table("none", TableOptions::new().ordered(true)).expect("a table");
    let refused = other.load_dump(&mut &dump[..], &options, Watcher::none());
    assert!(matches!(refused, Err(Error::TableMismatch { .. })), "{refused:?}");
}

/// What was wrong was quoted, of any length.
#[test]
fn messages_do_not_grow_with_the_input() {
    let (_sim, database) = database();
    let table = table(&database, "t");
    let long = "é".repeat(100_000);
    let lines = [
        format!("{{\"{long}\":1}}"),
        format!("{{\"key\":\"k\",\"value\":\"v\",\"version\":\"{long}\"}}"),
        format!("{{\"key\":\"k\",\"value\":\"v\",\"expires_at_ms\":[\"{long}\"]}}"),
        format!("\"{long}\""),
    ];
    let csv = [format!("key,value,key_encoding\nk,v,{long}\n"), format!("key,value,{long}\n")];
    let inputs =
        lines.iter().map(|line| (line, Format::JsonLines)).chain(csv.iter().map(|text| (text, Format::Csv)));
    for (input, format) in inputs {
        let (_, _, reason) =
            input_error(import(&table, input.as_bytes(), &ImportOptions::new().format(format)));
        assert!(reason.len() < 300, "{} bytes", reason.len());
    }
    let null = b"{\"key\":\"k\",\"value\":\"v\",\"version\":null,\"sequence\": 18446744073709551615 }\n";
    import(&table, null, &ImportOptions::new()).expect("imported");
}
