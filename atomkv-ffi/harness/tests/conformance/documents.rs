//! The steps that write and read single documents.

use std::ptr::null_mut;

use atomkv_harness::*;
use serde_json::{Value, json};

use crate::c::*;
use crate::{Source, World, bytes, shown};

impl World {
    pub fn write(&mut self, step: &Value) -> Outcome<Value> {
        let (table, key) = (**self.table(step), bytes(&step["key"]));
        let value = step.get("value").map(bytes).unwrap_or_default();
        let options = self.write_options(step)?;
        let plain = ["expect", "ttl_ms", "expires_at_ms"].iter().all(|name| step.get(name).is_none());
        let (k, k_size, v, v_size) = (at(&key), key.len(), at(&value), value.len());
        let (mut written, mut changed) = (zero(), 0);
        let what = step["do"].as_str().unwrap_or_default();
        if let Source::Transaction(transaction) = self.source(step) {
            ok(match what {
                "put" => c!(atomkv_txn_put(**transaction, table, k, k_size, v, v_size, *options)),
                _ => c!(atomkv_txn_delete(**transaction, table, k, k_size, *options)),
            })?;
            return Ok(Value::Null);
        }
        let status = ok(match what {
            "put" if plain => c!(atomkv_put(table, k, k_size, v, v_size, &mut written)),
            "put" => c!(atomkv_put_with(table, k, k_size, v, v_size, *options, &mut written)),
            "delete" if plain => c!(atomkv_delete(table, k, k_size, &mut written)),
            "delete" => c!(atomkv_delete_with(table, k, k_size, *options, &mut written)),
            "set_expiry" => c!(atomkv_set_expiry(table, k, k_size, *options, &mut written)),
            _ => c!(atomkv_put_if_changed(table, k, k_size, v, v_size, &mut written, &mut changed)),
        })?;
        let mut gives = self.keep_written(step, status, written);
        if what == "put_if_changed" && changed == 0 {
            gives["unchanged"] = json!(true);
        }
        Ok(gives)
    }

    /// A value, in all the ways in which it can be read.
    pub fn get(&self, source: &Source, table: *mut atomkv_table, key: &[u8]) -> Outcome<Option<Vec<u8>>> {
        let (k, k_size) = (at(key), key.len());
        let first = copied(|room, size, needed| match source {
            Source::Table => c!(atomkv_get(table, k, k_size, room, size, needed)),
            Source::Snapshot(from) => c!(atomkv_snapshot_get(***from, table, k, k_size, room, size, needed)),
            Source::Transaction(from) => c!(atomkv_txn_get(***from, table, k, k_size, room, size, needed)),
        });
        let second = owned(|value| match source {
            Source::Table => c!(atomkv_get_owned(table, k, k_size, value)),
            Source::Snapshot(from) => {
                c!(atomkv_snapshot_get_entry(***from, table, k, k_size, value, null_mut()))
            }
            Source::Transaction(from) => c!(atomkv_txn_get_owned(***from, table, k, k_size, value)),
        });
        assert_eq!(first, second, "the ways to read a value agree");
        if let Source::Table = source {
            let mut value = zero();
            let view = made(library().atomkv_view_release, |view| {
                ok(c!(atomkv_get_view(table, k, k_size, view, &mut value)))
            });
            assert_eq!(first, view.as_ref().map(|_| seen(value)).map_err(Failure::clone));
        }
        first
    }

    pub fn read(&mut self, step: &Value) -> Outcome<Value> {
        let (table, source) = (**self.table(step), self.source(step));
        let key = step.get("key").map(bytes).unwrap_or_default();
        let (k, k_size) = (at(&key), key.len());
        match step["do"].as_str().unwrap_or_default() {
            "get" => self.get(&source, table, &key).map(shown),
            "contains" => {
                let status = ok(match source {
                    Source::Table => c!(atomkv_contains(table, k, k_size)),
                    Source::Snapshot(from) => c!(atomkv_snapshot_contains(**from, table, k, k_size)),
                    Source::Transaction(from) => c!(atomkv_txn_contains(**from, table, k, k_size)),
                })?;
                Ok(json!(status == atomkv_status_ATOMKV_OK))
            }
            "get_many" => {
                let keys: Vec<Vec<u8>> = step["keys"].as_array().expect("keys").iter().map(bytes).collect();
                let slices: Vec<_> =
                    keys.iter().map(|key| atomkv_slice { data: at(key), size: key.len() }).collect();
                let mut values = vec![zero(); keys.len()];
                let (k, count, v) = (slices.as_ptr(), keys.len(), values.as_mut_ptr());
                let arena = Handle(c!(atomkv_arena_new()), library().atomkv_arena_free);
                ok(match source {
                    Source::Table => c!(atomkv_get_many(table, k, count, *arena, v)),
                    Source::Snapshot(from) => {
                        c!(atomkv_snapshot_get_many(**from, table, k, count, *arena, v))
                    }
                    Source::Transaction(_) => panic!("transactions do not read many values at once"),
                })?;
                let values: Vec<_> = values.into_iter().map(seen).collect();
                for (key, value) in keys.iter().zip(&values) {
                    assert_eq!(self.get(&source, table, key).as_ref(), Ok(value), "one by one and at once");
                }
                Ok(values.into_iter().map(shown).collect())
            }
            "len" => {
                let mut keys = 0;
                ok(c!(atomkv_table_len(table, &mut keys)))?;
                Ok(json!(keys))
            }
            _ => {
                let mut entry = zero::<atomkv_entry>();
                let value = owned(|value| match source {
                    Source::Snapshot(from) => {
                        c!(atomkv_snapshot_get_entry(**from, table, k, k_size, value, &mut entry))
                    }
                    _ => c!(atomkv_get_entry(table, k, k_size, value, &mut entry)),
                })?;
                Ok(value.map_or(Value::Null, |value| {
                    json!({"value": shown(Some(value)), "version": entry.version, "sequence": entry.sequence})
                }))
            }
        }
    }

    pub fn merge(&mut self, step: &Value) -> Outcome<Value> {
        let (table, key) = (**self.table(step), bytes(&step["key"]));
        let (k, k_size) = (at(&key), key.len());
        if let Some(operand) = step["add_integer"].as_i64() {
            let mut sum = 0;
            ok(c!(atomkv_add_integer(table, k, k_size, operand, &mut sum, null_mut())))?;
            return Ok(shown(Some(sum.to_le_bytes().to_vec())));
        }
        let operand = ["add_decimal", "append", "json_merge_patch"].iter().find_map(|name| step.get(name));
        let operand = bytes(operand.expect("an operand"));
        let (o, o_size) = (at(&operand), operand.len());
        let value = owned(|value| match step {
            _ if step.get("append").is_some() => {
                c!(atomkv_append(table, k, k_size, o, o_size, value, null_mut()))
            }
            _ if step.get("add_decimal").is_some() => {
                c!(atomkv_add_decimal(table, k, k_size, o, o_size, value, null_mut()))
            }
            _ => c!(atomkv_merge_json(table, k, k_size, o, o_size, value, null_mut())),
        });
        value.map(shown)
    }

    pub fn past(&mut self, step: &Value) -> Outcome<Value> {
        let (table, key) = (**self.table(step), bytes(&step["key"]));
        let (k, k_size, entry) = (at(&key), key.len(), null_mut());
        let value = owned(|value| match step["do"].as_str() {
            Some("get_version") => {
                c!(atomkv_get_version(table, k, k_size, self.number(&step["version"]), value, entry))
            }
            Some("get_at") => {
                c!(atomkv_get_at(table, k, k_size, self.number(&step["sequence"]), value, entry))
            }
            _ => atomkv_status_ATOMKV_OK,
        })?;
        if step["do"] != "history" {
            return Ok(shown(value));
        }
        let history = made(library().atomkv_history_free, |history| {
            ok(c!(atomkv_history_new(table, k, k_size, history)))
        })?;
        let (mut count, mut value, mut entry, mut versions) = (0, zero(), zero::<atomkv_entry>(), Vec::new());
        ok(c!(atomkv_history_len(*history, &mut count)))?;
        while ok(c!(atomkv_history_at(*history, versions.len(), &mut value, &mut entry)))? == 0 {
            assert_eq!(value.data.is_null(), entry.is_tombstone == 1);
            versions.push(json!([entry.version, shown(seen(value))]));
        }
        assert_eq!(versions.len(), count);
        Ok(Value::Array(versions))
    }

    pub fn write_stream(&mut self, step: &Value) -> Outcome<Value> {
        let (table, key) = (**self.table(step), bytes(&step["key"]));
        let writer = made(library().atomkv_writer_free, |writer| {
            ok(c!(atomkv_writer_new(table, at(&key), key.len(), writer)))
        })?;
        for part in step["parts"].as_array().expect("parts") {
            let part = bytes(part);
            ok(c!(atomkv_writer_append(*writer, at(&part), part.len())))?;
        }
        if step["finish"] == false {
            return Ok(Value::Null);
        }
        let (options, mut written) = (self.write_options(step)?, zero());
        let status = detailed(|error| c!(atomkv_writer_finish(*writer, *options, &mut written, error)))?;
        Ok(self.keep_written(step, status, written))
    }

    pub fn read_stream(&mut self, step: &Value) -> Outcome<Value> {
        let (table, key) = (**self.table(step), bytes(&step["key"]));
        let (k, k_size) = (at(&key), key.len());
        let reader = made(library().atomkv_reader_free, |reader| {
            ok(match self.source(step) {
                Source::Snapshot(from) => c!(atomkv_snapshot_reader_new(**from, table, k, k_size, reader)),
                _ => c!(atomkv_reader_new(table, k, k_size, reader)),
            })
        })?;
        if reader.is_null() {
            return Ok(Value::Null);
        }
        let mut part = vec![0_u8; self.number(&step["length"]) as usize];
        let (room, size, mut read) = (part.as_mut_ptr().cast(), part.len(), 0);
        ok(c!(atomkv_reader_read(*reader, self.number(&step["offset"]), room, size, &mut read)))?;
        part.truncate(read);
        Ok(shown(Some(part)))
    }
}
