//! kcat behind the same commands as the other clients: each is one run of the program.

use std::io::Write;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::records::{DIGEST_ABOVE, RecordSet, encode};

/// kcat has no state between its runs.
pub struct Kcat {
    bootstrap: String,
}

impl Kcat {
    pub fn new(bootstrap: &str) -> Self {
        Self { bootstrap: bootstrap.to_owned() }
    }

    pub fn ask(&self, command: &Value) -> Value {
        let done = match command["do"].as_str().expect("a command") {
            "hello" => Ok(json!({"client": "kcat"})),
            "list_topics" => self.list_topics(),
            "describe_topic" => self.describe_topic(command),
            "produce" => self.produce(command),
            "produce_numbers" => self.produce_numbers(command),
            "consume" => self.consume(command),
            "consume_in_group" => self.consume_in_group(command),
            "offsets" => self.offsets(command),
            "offset_for_time" => self
                .offset_at(command, command["timestamp"].as_i64().expect("a timestamp"))
                .map(|offset| json!({"offset": (offset >= 0).then_some(offset)})),
            _ => Ok(json!({"unsupported": true})),
        };
        done.unwrap_or_else(|error| json!({"error": error}))
    }

    /// Joins a group, reads `count` records, commits and leaves.
    fn consume_in_group(&self, command: &Value) -> Result<Value, String> {
        let count = command["count"].to_string();
        let how =
            ["-q", "-X", "auto.offset.reset=earliest", "-f", "%o\n", "-c", &count, "-G"].map(str::to_owned);
        let arguments = [&how[..], &[text(command, "group"), text(command, "topic")]].concat();
        let output = self.run(&arguments, b"")?;
        let offsets: Vec<u64> =
            String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| line.parse().ok()).collect();
        Ok(json!({"offsets": offsets}))
    }

    fn run(&self, arguments: &[String], input: &[u8]) -> Result<Output, String> {
        let mut child = Command::new("kcat")
            .args(["-b", &self.bootstrap, "-m", "30"])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        // What is written here is small enough for the pipe: nothing can wait for anything.
        child.stdin.take().expect("piped").write_all(input).ok();
        let output = child.wait_with_output().map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(output);
        }
        Err(format!("kcat {arguments:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr)))
    }

    fn metadata(&self, arguments: &[String]) -> Result<Value, String> {
        let arguments = [&["-L".to_owned(), "-J".to_owned()], arguments].concat();
        let output = self.run(&arguments, b"")?;
        serde_json::from_slice(&output.stdout).map_err(|error| error.to_string())
    }

    fn list_topics(&self) -> Result<Value, String> {
        let metadata = self.metadata(&[])?;
        let topics = metadata["topics"].as_array().cloned().unwrap_or_default();
        let names: Vec<&Value> = topics.iter().map(|topic| &topic["topic"]).collect();
        Ok(json!({"topics": names, "brokers": metadata["brokers"]}))
    }

    fn describe_topic(&self, command: &Value) -> Result<Value, String> {
        let metadata = self.metadata(&["-t".to_owned(), text(command, "topic")])?;
        let partitions = metadata["topics"][0]["partitions"].as_array().cloned().unwrap_or_default();
        let leaders: Vec<&Value> = partitions.iter().map(|partition| &partition["leader"]).collect();
        Ok(json!({"partitions": partitions.len(), "leaders": leaders}))
    }

    fn producer(command: &Value) -> Vec<String> {
        let mut arguments = vec!["-P".to_owned(), "-t".to_owned(), text(command, "topic")];
        if let Some(codec) = command["codec"].as_str() {
            arguments.extend(["-z".to_owned(), codec.to_owned()]);
        }
        if let Some(acks) = command["acks"].as_i64() {
            arguments.extend(["-X".to_owned(), format!("acks={acks}")]);
        }
        if let Some(idempotence) = command["idempotence"].as_bool() {
            arguments.extend(["-X".to_owned(), format!("enable.idempotence={idempotence}")]);
        }
        arguments
    }

    /// One run for each record: kcat's headers and key are those of all messages of a run.
    fn produce(&self, command: &Value) -> Result<Value, String> {
        let file = text(command, "file");
        let sets = [RecordSet::standard(crate::family::Family::Kcat), RecordSet::small()];
        let set = sets.into_iter().find(|set| set.file.to_string_lossy() == file).expect("a set for kcat");
        let value_file = tempfile::NamedTempFile::new().map_err(|error| error.to_string())?;
        for record in &set.records {
            let mut arguments = Self::producer(command);
            arguments.extend(["-p".to_owned(), command["partition"].to_string()]);
            if let Some(key) = &record.key {
                arguments.extend(["-k".to_owned(), String::from_utf8_lossy(key).into_owned()]);
            }
            for (name, value) in &record.headers {
                let value = value.as_ref().map(|value| format!("={}", String::from_utf8_lossy(value)));
                arguments.extend(["-H".to_owned(), name.clone() + &value.unwrap_or_default()]);
            }
            let value = record.value.as_deref().unwrap_or_default();
            std::fs::write(value_file.path(), value).map_err(|error| error.to_string())?;
            arguments.push(value_file.path().to_string_lossy().into_owned());
            self.run(&arguments, b"")?;
        }
        Ok(json!({"offsets": vec![-1; set.records.len()]}))
    }

    fn produce_numbers(&self, command: &Value) -> Result<Value, String> {
        let count = command["count"].as_u64().expect("a count");
        let partitions = command["partitions"].as_u64().expect("a number of partitions");
        for partition in 0..partitions {
            let mut arguments = Self::producer(command);
            arguments.extend(["-p".to_owned(), partition.to_string()]);
            let numbers = (0..count).filter(|number| number % partitions == partition);
            let lines: String = numbers.map(|number| format!("{number}\n")).collect();
            self.run(&arguments, lines.as_bytes())?;
        }
        Ok(json!({"acknowledged": count}))
    }

    fn consume(&self, command: &Value) -> Result<Value, String> {
        let arguments = ["-C", "-q", "-t", &text(command, "topic"), "-p", &command["partition"].to_string()]
            .into_iter()
            .chain(["-o", &command["from"].to_string(), "-c", &command["count"].to_string()])
            .chain(["-f", "%o %T %K %S %h\\n%k%s\\n"])
            .map(str::to_owned)
            .collect::<Vec<_>>();
        let output = self.run(&arguments, b"")?;
        let mut rest = output.stdout.as_slice();
        let mut records = Vec::new();
        while !rest.is_empty() {
            let end = rest.iter().position(|byte| *byte == b'\n').ok_or("a line")?;
            let line = String::from_utf8_lossy(&rest[..end]).into_owned();
            rest = &rest[end + 1..];
            let mut words = line.splitn(5, ' ');
            let mut number =
                || words.next().and_then(|word| word.parse::<i64>().ok()).ok_or(format!("{line:?}?"));
            let (offset, timestamp, key_bytes, value_bytes) = (number()?, number()?, number()?, number()?);
            let mut take = |bytes: i64| {
                let length = usize::try_from(bytes).ok()?;
                let (taken, after) = rest.split_at(length);
                rest = after;
                Some(taken)
            };
            let (key, value) = (take(key_bytes), take(value_bytes));
            let mut record = json!({
                "offset": offset, "timestamp": timestamp, "key": encode(key),
                "headers": words.next().unwrap_or_default(),
            });
            match value {
                Some(value) if value.len() > DIGEST_ABOVE => {
                    record["digest"] = json!([value.len(), crc32fast::hash(value)]);
                }
                value => record["value"] = encode(value),
            }
            records.push(record);
            rest = &rest[1..];
        }
        Ok(json!({"records": records}))
    }

    fn offsets(&self, command: &Value) -> Result<Value, String> {
        Ok(json!({"begin": self.offset_at(command, -2)?, "end": self.offset_at(command, -1)?}))
    }

    /// `-Q` answers `topic [partition] offset N`.
    fn offset_at(&self, command: &Value, timestamp: i64) -> Result<i64, String> {
        let asked = format!("{}:{}:{timestamp}", text(command, "topic"), command["partition"]);
        let output = self.run(&["-Q".to_owned(), "-t".to_owned(), asked], b"")?;
        let printed = String::from_utf8_lossy(&output.stdout).into_owned();
        printed.split_whitespace().last().and_then(|word| word.parse().ok()).ok_or(printed)
    }
}

fn text(command: &Value, name: &str) -> String {
    command[name].as_str().unwrap_or_else(|| panic!("{command} has no {name}")).to_owned()
}
