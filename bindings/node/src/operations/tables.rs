//! Tables, and writes that are not called a million times a second.

use atomkv_engine::services::{AnyBytes, KeyValidator};
use atomkv_engine::{Durability, Merge, Written};
use serde_json::{Value, json};

use super::{Output, Request, options};
use crate::failure::{Failure, Outcome};
use crate::slots::Slot;

/// Version and sequence.
pub fn written(written: Written) -> Value {
    json!({"version": written.version, "sequence": written.sequence})
}

/// Does them.
pub fn run(request: &Request) -> Outcome<Output> {
    match request.name.as_str() {
        "table" => {
            let services = options::services(&request.options)?;
            let refuses_keys = services.validator().identity() != AnyBytes.identity();
            let options = options::table(&request.options)?.services(services);
            let table = request.database()?.database.table(request.text("name")?, options)?;
            let durability = match table.durability() {
                Durability::Sync => "sync",
                Durability::Buffered => "buffered",
            };
            let told = json!({ "durability": durability, "refusesKeys": refuses_keys });
            Ok(Output::Opened(Slot::Table(table), told))
        }
        "apply" => {
            let batch = request.batch.as_ref().ok_or_else(Failure::closed)?;
            let durability = crate::packed::durability(request.number("durability") as u32);
            let sequence = request.database()?.database.apply(batch, durability)?;
            Ok(Output::Number(sequence.map_or(-1.0, |sequence| sequence as f64)))
        }
        "length" => Ok(Output::Number(request.table()?.len() as f64)),
        "setExpiry" => {
            let options = options::write(&request.options);
            match request.table()?.set_expiry(request.key(), options)? {
                Some(done) => Ok(Output::Parts(written(done), Vec::new())),
                None => Ok(Output::Nothing),
            }
        }
        _ => {
            let operand = request.second.as_deref().unwrap_or_default();
            let merge = match request.text("operator")? {
                "addInteger" => {
                    let text = std::str::from_utf8(operand).unwrap_or_default();
                    let number = text.parse().map_err(|_| {
                        Failure::argument(
                            "addInteger takes a whole number of 64 bits, as a number or a bigint",
                        )
                    })?;
                    Merge::AddInteger(number)
                }
                "addDecimal" => Merge::AddDecimal(operand),
                "append" => Merge::Append(operand),
                _ => Merge::JsonMergePatch(operand),
            };
            let (done, value) = request.table()?.merge(request.key(), &merge)?;
            Ok(Output::Parts(written(done), vec![value]))
        }
    }
}
