//! Bodies made at random from the guard's table of shapes, with marks at every count and length.

use ketcd::protocol::apis::Api;
use ketcd::protocol::guard::shape::{Field, Kind};
use ketcd::protocol::varint;

/// Which tagged fields a body has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tags {
    None,
    Known,
    /// Known and unknown ones.
    Unknown,
}

/// How a count or length stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    I16,
    I32,
    /// As a varint of the number plus this.
    Varint(u32),
}

/// A count or length in a body.
#[derive(Debug, Clone, Copy)]
pub struct Mark {
    /// Shown when a test fails.
    #[allow(dead_code)]
    field: &'static str,
    at: usize,
    size: usize,
    form: Form,
    value: u32,
}

/// A body that should pass.
#[derive(Debug, Clone)]
pub struct Sample {
    pub bytes: Vec<u8>,
    pub marks: Vec<Mark>,
}

impl Mark {
    /// Other bytes for the number: small, negative, one more, as much as remains, more than can be, and numbers that are too long.
    pub fn hostile(&self, body_bytes: usize) -> Vec<Vec<u8>> {
        let remaining = (body_bytes - self.at - self.size) as i64;
        let numbers = [
            -2,
            -1,
            0,
            1,
            i64::from(self.value) + 1,
            remaining,
            remaining + 1,
            1 << 20,
            i64::from(i32::MAX) - 1,
            i64::from(i32::MAX),
            1 << 31,
            i64::from(u32::MAX) - 1,
            i64::from(u32::MAX),
        ];
        let mut all: Vec<Vec<u8>> = numbers.into_iter().map(|number| self.encode(number)).collect();
        if let Form::Varint(_) = self.form {
            all.push(vec![0x80, 0x80, 0x80, 0x80, 0x00]);
            all.push(vec![0xff, 0xff, 0xff, 0xff, 0x7f]);
            all.push(vec![0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01]);
            all.push(vec![0xff; 10]);
        }
        all
    }

    pub fn original(&self, sample: &Sample) -> Vec<u8> {
        sample.bytes[self.at..self.at + self.size].to_vec()
    }

    fn encode(&self, number: i64) -> Vec<u8> {
        match self.form {
            Form::I16 => (number as i16).to_be_bytes().to_vec(),
            Form::I32 => (number as i32).to_be_bytes().to_vec(),
            Form::Varint(bias) => {
                let mut bytes = Vec::new();
                varint::put_u32(&mut bytes, (number as u32).wrapping_add(bias));
                bytes
            }
        }
    }
}

impl Sample {
    pub fn random(api: &Api, version: i16, seed: u64, tags: Tags) -> Self {
        let seed = seed ^ ((api.key as u64) << 32) ^ ((version as u64) << 48);
        let flexible = version >= api.flexible_from;
        let mut maker = Maker { version, flexible, tags, random: Random(seed), bytes: vec![], marks: vec![] };
        maker.fields(api.shape(), 0);
        Self { bytes: maker.bytes, marks: maker.marks }
    }

    /// The body with other bytes where `mark` stands.
    pub fn with(&self, mark: &Mark, bytes: &[u8]) -> Vec<u8> {
        [&self.bytes[..mark.at], bytes, &self.bytes[mark.at + mark.size..]].concat()
    }
}

/// Random bytes.
pub fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut random = Random(seed);
    (0..bytes).map(|_| random.next() as u8).collect()
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}

struct Maker {
    version: i16,
    flexible: bool,
    tags: Tags,
    random: Random,
    bytes: Vec<u8>,
    marks: Vec<Mark>,
}

impl Maker {
    fn fields(&mut self, fields: &'static [Field], depth: u32) {
        let version = self.version;
        for field in fields.iter().filter(|it| it.tag.is_none() && it.versions.contain(version)) {
            self.field(field, depth, false);
        }
        if self.flexible {
            self.tagged_fields(fields, depth);
        }
    }

    fn field(&mut self, field: &'static Field, depth: u32, tagged: bool) {
        let nullable = field.nullable.contain(self.version);
        // The codec leaves a tagged field out if its value is the default: make none of those.
        let null = nullable && !tagged && self.random.below(4) == 0;
        let least = u64::from(tagged);
        match field.kind {
            Kind::Fixed(1) => {
                // Bool and int8 look alike here; the codec reads any other byte of a bool as 1.
                let bit = if tagged { 1 } else { self.random.below(2) };
                self.bytes.push(bit as u8);
            }
            Kind::Fixed(bytes) => self.noise(bytes),
            Kind::String => self.text(field, null, least),
            Kind::Bytes => {
                let size = (!null).then(|| self.size(least));
                self.number(field, if self.flexible { Form::Varint(1) } else { Form::I32 }, size);
                self.noise(size.unwrap_or(0) as usize);
            }
            Kind::FixedArray(bytes) => {
                let count = self.count(field, null, least, depth);
                self.noise(count * bytes);
            }
            Kind::StringArray => {
                for _ in 0..self.count(field, null, least, depth) {
                    self.text(field, false, 0);
                }
            }
            Kind::StructArray(fields) => {
                for _ in 0..self.count(field, null, least, depth) {
                    self.fields(fields, depth + 1);
                }
            }
            Kind::Struct(fields) => {
                if nullable {
                    self.bytes.push(if null { 0xff } else { 1 });
                }
                if !null {
                    self.fields(fields, depth + 1);
                }
            }
        }
    }

    fn text(&mut self, field: &'static Field, null: bool, least: u64) {
        let size = (!null).then(|| self.size(least));
        self.number(field, if self.flexible { Form::Varint(1) } else { Form::I16 }, size);
        for _ in 0..size.unwrap_or(0) {
            let letter = b'a' + self.random.below(26) as u8;
            self.bytes.push(letter);
        }
    }

    fn count(&mut self, field: &'static Field, null: bool, least: u64, depth: u32) -> usize {
        let most = if depth == 0 { 4 } else { 3 };
        let count = (!null).then(|| (least + self.random.below(most)) as u32);
        self.number(field, if self.flexible { Form::Varint(1) } else { Form::I32 }, count);
        count.unwrap_or(0) as usize
    }

    fn size(&mut self, least: u64) -> u32 {
        // Now and then a size that takes two bytes as a varint.
        let bound = if self.random.below(12) == 0 { 200 } else { 9 };
        (least + self.random.below(bound)) as u32
    }

    fn number(&mut self, field: &'static Field, form: Form, value: Option<u32>) {
        self.number_named(field.name, form, value);
    }

    fn number_named(&mut self, field: &'static str, form: Form, value: Option<u32>) {
        let mut mark = Mark { field, at: self.bytes.len(), size: 0, form, value: value.unwrap_or(0) };
        let bytes = mark.encode(value.map_or(-1, i64::from));
        mark.size = bytes.len();
        self.marks.push(mark);
        self.bytes.extend_from_slice(&bytes);
    }

    fn noise(&mut self, bytes: usize) {
        for _ in 0..bytes {
            let byte = self.random.next() as u8;
            self.bytes.push(byte);
        }
    }

    fn tagged_fields(&mut self, fields: &'static [Field], depth: u32) {
        let version = self.version;
        let mut known: Vec<&'static Field> = match self.tags {
            Tags::None => vec![],
            Tags::Known | Tags::Unknown => {
                fields.iter().filter(|it| it.tag.is_some() && it.versions.contain(version)).collect()
            }
        };
        known.sort_by_key(|field| field.tag);
        let unknown = if self.tags == Tags::Unknown { self.random.below(3) as u32 } else { 0 };
        self.number_named("tag count", Form::Varint(0), Some(known.len() as u32 + unknown));
        for field in known {
            varint::put_u32(&mut self.bytes, field.tag.unwrap());
            let (outer, marks) = (std::mem::take(&mut self.bytes), self.marks.len());
            self.field(field, depth, true);
            let value = std::mem::replace(&mut self.bytes, outer);
            let inner = self.marks.split_off(marks);
            self.number_named("tag size", Form::Varint(0), Some(value.len() as u32));
            let at = self.bytes.len();
            self.marks.extend(inner.into_iter().map(|mark| Mark { at: mark.at + at, ..mark }));
            self.bytes.extend_from_slice(&value);
        }
        for place in 0..unknown {
            // Past every tag that Kafka has given out.
            varint::put_u32(&mut self.bytes, 5000 + 7 * place);
            let size = self.size(0);
            self.number_named("tag size", Form::Varint(0), Some(size));
            self.noise(size as usize);
        }
    }
}
