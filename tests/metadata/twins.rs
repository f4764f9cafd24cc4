//! The embedded store beside a real server: the same random requests, the same answers, word for word.
//!
//! `KETCD_SEED=<number>` runs one seed; the failing one is in the message.

use etcd_client::proto::{PbKeyValue, PbResponseHeader, PbResponseOp, PbTxnOpResponse};
use etcd_client::{
    Client, Compare, CompareOp, DeleteOptions, Error, EventType, GetOptions, LeaseGrantOptions,
    LeaseTimeToLiveOptions, PutOptions, SortOrder, SortTarget, Txn, TxnOp, WatchOptions,
};

use crate::backend::{Backend, Kind, block_on, next_change};
use crate::etcd::skip;

/// The later ones once found a difference.
const SEEDS: [u64; 6] = [0, 1, 2, 3, 11, 16];
const REQUESTS: usize = 600;
const KEYS: [&str; 8] = ["a", "ab", "b", "b/1", "b/2", "c", "c\u{0}", "d"];
const VALUES: [&str; 4] = ["", "x", "y", "xx"];
const LEASES: [i64; 4] = [0, 0, 1, 2];

/// A random number generator that is the same everywhere (splitmix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u64) as usize].clone()
    }

    fn once_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }
}

#[derive(Debug, Clone)]
enum Request {
    Put(String, String, PutOptions),
    Get(String, GetOptions),
    Delete(String, DeleteOptions),
    Txn(Txn),
    Compact(i64),
    Grant(i64, i64),
    Revoke(i64),
    Keys(i64),
}

fn put(dice: &mut Dice) -> (String, String, PutOptions) {
    let mut options = PutOptions::new().with_lease(dice.pick(&LEASES));
    if dice.once_in(3) {
        options = options.with_prev_key();
    }
    if dice.once_in(10) {
        options = options.with_ignore_value();
    }
    if dice.once_in(10) {
        options = options.with_ignore_lease();
    }
    (dice.pick(&KEYS).to_owned(), dice.pick(&VALUES).to_owned(), options)
}

fn get(dice: &mut Dice, newest: i64) -> (String, GetOptions) {
    let mut options = GetOptions::new();
    match dice.below(6) {
        0 => options = options.with_prefix(),
        1 => options = options.with_from_key(),
        2 => options = options.with_range(dice.pick(&KEYS)),
        3 => options = options.with_all_keys(),
        _ => {}
    }
    if dice.once_in(3) {
        options = options.with_revision((newest - 10 + dice.below(14) as i64).max(1));
    }
    // Only keys have no ties, whose order a real server leaves open.
    match dice.below(6) {
        0 => {
            options = options.with_sort(SortTarget::Key, SortOrder::Descend).with_limit(dice.below(4) as i64)
        }
        1 => options = options.with_sort(SortTarget::Key, SortOrder::Ascend).with_limit(dice.below(4) as i64),
        2 => options = options.with_limit(dice.below(4) as i64),
        _ => {}
    }
    match dice.below(8) {
        0 => options = options.with_keys_only(),
        1 => options = options.with_count_only(),
        2 => options = options.with_min_mod_revision(newest - dice.below(10) as i64),
        3 => options = options.with_max_mod_revision(newest - dice.below(10) as i64),
        4 => options = options.with_min_create_revision(newest - dice.below(10) as i64),
        5 => options = options.with_max_create_revision(newest - dice.below(10) as i64),
        _ => {}
    }
    (dice.pick(&KEYS).to_owned(), options)
}

fn delete(dice: &mut Dice) -> (String, DeleteOptions) {
    let mut options = DeleteOptions::new();
    match dice.below(6) {
        0 => options = options.with_prefix(),
        1 => options = options.with_range(dice.pick(&KEYS)),
        _ => {}
    }
    if dice.once_in(2) {
        options = options.with_prev_key();
    }
    (dice.pick(&KEYS).to_owned(), options)
}

fn compare(dice: &mut Dice, newest: i64) -> Compare {
    let key = dice.pick(&KEYS);
    let operator = dice.pick(&[CompareOp::Equal, CompareOp::Greater, CompareOp::Less, CompareOp::NotEqual]);
    let revision = newest - dice.below(8) as i64;
    let compare = match dice.below(5) {
        0 => Compare::version(key, operator, dice.below(4) as i64),
        1 => Compare::create_revision(key, operator, revision),
        2 => Compare::mod_revision(key, operator, revision),
        3 => Compare::value(key, operator, dice.pick(&VALUES)),
        _ => Compare::lease(key, operator, dice.pick(&LEASES)),
    };
    if dice.once_in(5) { compare.with_prefix() } else { compare }
}

fn txn(dice: &mut Dice, newest: i64, depth: usize) -> Txn {
    let compares: Vec<_> = (0..dice.below(3)).map(|_| compare(dice, newest)).collect();
    let mut branch = || -> Vec<TxnOp> {
        (0..dice.below(4))
            .map(|_| match dice.below(if depth > 0 { 8 } else { 7 }) {
                0..=2 => {
                    let (key, value, options) = put(dice);
                    TxnOp::put(key, value, Some(options))
                }
                3 | 4 => {
                    let (key, options) = get(dice, newest);
                    TxnOp::get(key, Some(options))
                }
                5 | 6 => {
                    let (key, options) = delete(dice);
                    TxnOp::delete(key, Some(options))
                }
                _ => TxnOp::txn(txn(dice, newest, depth - 1)),
            })
            .collect()
    };
    let (success, failure) = (branch(), branch());
    Txn::new().when(compares).and_then(success).or_else(failure)
}

fn request(dice: &mut Dice, newest: i64) -> Request {
    match dice.below(100) {
        0..=24 => {
            let (key, value, options) = put(dice);
            Request::Put(key, value, options)
        }
        25..=44 => {
            let (key, options) = get(dice, newest);
            Request::Get(key, options)
        }
        45..=54 => {
            let (key, options) = delete(dice);
            Request::Delete(key, options)
        }
        55..=91 => Request::Txn(txn(dice, newest, 2)),
        92 => Request::Compact(newest - 5 + dice.below(7) as i64),
        93..=95 => Request::Grant(dice.pick(&[1, 2]), 600),
        96 => Request::Revoke(dice.pick(&[1, 2])),
        _ => Request::Keys(dice.pick(&[1, 2])),
    }
}

/// The one header that differs by nature, reduced to what must not.
fn revision_of(header: &mut Option<PbResponseHeader>) -> i64 {
    header.take().map_or(0, |header| header.revision)
}

/// Servers do not agree whether a read of keys only tells the lease.
fn without_leases(kvs: &mut [PbKeyValue]) {
    kvs.iter_mut().filter(|kv| kv.value.is_empty()).for_each(|kv| kv.lease = 0);
}

/// Headers inside a Txn: servers fill them differently, and no client reads them.
fn without_headers(responses: &mut [PbResponseOp]) {
    for response in responses {
        match response.response.as_mut() {
            Some(PbTxnOpResponse::ResponseRange(range)) => {
                range.header = None;
                without_leases(&mut range.kvs);
            }
            Some(PbTxnOpResponse::ResponsePut(put)) => put.header = None,
            Some(PbTxnOpResponse::ResponseDeleteRange(delete)) => delete.header = None,
            Some(PbTxnOpResponse::ResponseTxn(txn)) => {
                txn.header = None;
                without_headers(&mut txn.responses);
            }
            None => {}
        }
    }
}

/// The answer as text, less what differs by nature; and the revision it tells.
async fn ask(client: &mut Client, request: Request) -> (String, i64) {
    async fn answer(client: &mut Client, request: Request) -> Result<(String, i64), Error> {
        Ok(match request {
            Request::Put(key, value, options) => {
                let mut response = client.put(key, value, Some(options)).await?.0;
                let revision = revision_of(&mut response.header);
                (format!("{response:?}"), revision)
            }
            Request::Get(key, options) => {
                let mut response = client.get(key, Some(options)).await?.0;
                without_leases(&mut response.kvs);
                let revision = revision_of(&mut response.header);
                (format!("{response:?}"), revision)
            }
            Request::Delete(key, options) => {
                let mut response = client.delete(key, Some(options)).await?.0;
                let revision = revision_of(&mut response.header);
                (format!("{response:?}"), revision)
            }
            Request::Txn(txn) => {
                let mut response = client.txn(txn).await?.0;
                let revision = revision_of(&mut response.header);
                without_headers(&mut response.responses);
                (format!("{response:?}"), revision)
            }
            Request::Compact(revision) => {
                let response = client.compact(revision, None).await?;
                ("compacted".to_owned(), response.header().unwrap().revision())
            }
            Request::Grant(id, ttl) => {
                let response = client.lease_grant(ttl, Some(LeaseGrantOptions::new().with_id(id))).await?;
                (format!("{} {}", response.id(), response.ttl()), response.header().unwrap().revision())
            }
            Request::Revoke(id) => {
                let response = client.lease_revoke(id).await?;
                ("revoked".to_owned(), response.header().unwrap().revision())
            }
            Request::Keys(id) => {
                let options = LeaseTimeToLiveOptions::new().with_keys();
                let response = client.lease_time_to_live(id, Some(options)).await?;
                let mut keys = response.keys().to_vec();
                keys.sort();
                (format!("{} {keys:?}", response.granted_ttl()), response.header().unwrap().revision())
            }
        })
    }
    match answer(client, request).await {
        Ok(answer) => answer,
        Err(Error::GRpcStatus(status)) => (format!("{:?} {}", status.code(), status.message()), 0),
        Err(other) => panic!("{other}"),
    }
}

/// Every change since the compaction, with the value before it.
async fn history(backend: &mut Backend, from: i64) -> Vec<String> {
    let end = backend.put("end", "").await;
    let options = WatchOptions::new().with_all_keys().with_start_revision(from).with_prev_key();
    let mut stream = backend.client.watch("", Some(options)).await.unwrap();
    let mut all = Vec::new();
    loop {
        let message = next_change(&mut stream).await;
        assert!(!message.canceled(), "{message:?}");
        all.extend(message.events().iter().map(|event| format!("{event:?}")));
        let last = message.events().last().and_then(|event| event.kv().map(|kv| kv.mod_revision()));
        if last == Some(end) {
            assert_eq!(message.events().last().unwrap().event_type(), EventType::Put);
            return all;
        }
    }
}

fn answers_like(kind: Kind, name: &str) {
    let chosen = std::env::var("KETCD_SEED").ok().map(|seed| seed.parse().unwrap());
    let seeds: Vec<u64> = chosen.map_or_else(|| SEEDS.to_vec(), |seed| vec![seed]);
    block_on(async {
        for seed in seeds {
            let mut real = match Backend::start(kind).await {
                Ok(real) => real,
                Err(why) => return skip(name, &why),
            };
            let mut embedded = Backend::start(Kind::Embedded).await.unwrap();
            let mut dice = Dice(seed);
            let mut newest = 1;
            let mut compacted = 1;
            for number in 0..REQUESTS {
                let request = request(&mut dice, newest);
                let expected = ask(&mut real.client, request.clone()).await;
                let mut got = ask(&mut embedded.client, request.clone()).await;
                // Of several reasons to refuse a Txn, old servers tell another one first.
                let both_refused = got.0.contains("etcdserver:") && expected.0.contains("etcdserver:");
                if kind == Kind::Debian && matches!(request, Request::Txn(_)) && both_refused {
                    got.0.clone_from(&expected.0);
                }
                assert_eq!(got, expected, "KETCD_SEED={seed}, request {number}: {request:?}");
                newest = newest.max(expected.1);
                if let Request::Compact(revision) = request
                    && expected.0 == "compacted"
                {
                    compacted = revision;
                }
            }
            assert!(newest > 100, "the requests change something: {newest}");
            let from = compacted + 1;
            assert_eq!(
                history(&mut embedded, from).await,
                history(&mut real, from).await,
                "KETCD_SEED={seed}"
            );
        }
    });
}

#[test]
fn the_embedded_store_answers_like_etcd_3_4() {
    answers_like(Kind::Debian, "twins::etcd_3_4");
}

#[test]
fn the_embedded_store_answers_like_etcd_3_7() {
    answers_like(Kind::Current, "twins::etcd_3_7");
}
