//! Data threads never wait for a disk (point 11): their system calls watched by strace, their page faults by the kernel's own count.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use rustix::process::{Signal, kill_process};

use crate::kafka::{self, Producer};
use crate::node::{Node, children, ketcd};
use crate::skip;

/// What may wait for a disk. Appends (`pwritev`) are no part of it: they go to preallocated space, that is to memory. Of reads there
/// are none: what is sent is mapped.
const MAY_WAIT: &str = "open,openat,openat2,creat,fallocate,fsync,fdatasync,msync,sync_file_range,syncfs,ftruncate,truncate,rename,\
renameat,renameat2,unlink,unlinkat,mkdir,mkdirat,rmdir,pread64,preadv,preadv2,getdents64,statfs,fstatfs,\
flock,copy_file_range,sendfile,stat,newfstatat,statx";
/// How data threads are called (`server/runtimes.rs`).
const DATA_THREADS: &str = "ketcd-data";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_threads_make_no_call_that_may_wait_for_a_disk() {
    match Command::new("strace").args(["-o", "/dev/null", "true"]).output() {
        Err(_) => return skip::skip("strace is not there: run tests/setup/strace.sh"),
        Ok(tried) if !tried.status.success() => return skip::skip("strace may not trace here"),
        Ok(_) => {}
    }
    let folder = tempfile::tempdir().unwrap();
    let trace = folder.path().join("trace");
    let trace_calls = format!("trace={MAY_WAIT}");
    let mut node = Node::dev(&folder.path().join("data"), &["--set", "log.retention.check.interval.ms=200"])
        .under(&["strace", "-f", "-Y", "-s", "80", "-qq", "-o", trace.to_str().unwrap(), "-e", &trace_calls])
        .started();
    workload(&node).await;
    assert!(node.metric("ketcd_sys_blocked_calls_total") == 0.0, "{}", node.output());
    let broker = children(node.pid())[0];
    let data_threads = threads_of(broker.as_raw_nonzero().get().unsigned_abs());
    assert!(data_threads.values().any(|name| name.starts_with(DATA_THREADS)), "{data_threads:?}");
    kill_process(broker, Signal::TERM).expect("the broker runs");
    assert!(node.wait(Duration::from_secs(60)).success(), "{}", node.output());

    let trace = std::fs::read_to_string(&trace).unwrap();
    let mut seen: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    for line in trace.lines() {
        if let Some((thread, call)) = thread_and_call(line) {
            seen.entry(thread.to_owned()).or_default().insert(call);
        }
    }
    // The watch works: storage threads do all of these.
    let storage: BTreeSet<_> =
        seen.iter().filter(|(name, _)| name.starts_with("storage")).flat_map(|(_, calls)| calls).collect();
    for call in ["openat", "fallocate"] {
        assert!(storage.contains(&call), "storage threads were not seen to {call}: {seen:?}");
    }
    assert!(seen.values().flatten().any(|call| ["fsync", "fdatasync", "msync"].contains(call)), "{seen:?}");
    let broken: Vec<_> = trace
        .lines()
        .filter(|line| thread_and_call(line).is_some_and(|(thread, _)| thread.starts_with(DATA_THREADS)))
        // The C library's and the allocator's look at the machine when a thread starts.
        .filter(|line| {
            !["/proc/", "/sys/", "/etc/"].iter().any(|kernel| line.contains(&format!("\"{kernel}")))
        })
        .collect();
    assert!(broken.is_empty(), "data threads waited for a disk:\n{}", broken.join("\n"));
}

/// Creates, produces, rolls, retention, fetches, changes, deletions: everything that touches files.
async fn workload(node: &Node) {
    let bootstrap = node.bootstrap();
    let small = [("segment.bytes", "1048576"), ("retention.bytes", "2097152"), ("flush.messages", "50")];
    kafka::created(&bootstrap, "t", 3, &small).await;
    for partition in 0..3 {
        let mut producer = Producer::new(&bootstrap, "t", partition, 5_000).await;
        for _ in 0..60 {
            producer.send(10).await;
        }
        assert!(!producer.acked.is_empty());
        let found = kafka::read_all(&bootstrap, "t", partition, i64::from(producer.next_number) - 20).await;
        assert_eq!(found.len(), 20);
    }
    let (code, message) = kafka::alter_topic(&bootstrap, "t", "retention.bytes", "1048576").await.unwrap();
    assert_eq!(code, ketcd::protocol::error::ErrorCode::None, "{message}");
    for arguments in [
        vec!["topic", "describe", "t"],
        vec!["topic", "list"],
        vec!["cluster"],
        vec!["topic", "trim", "t", "--partition", "0", "--before", "590", "--yes"],
        vec!["topic", "create", "short", "-p", "2"],
        vec!["topic", "delete", "short", "--yes"],
        vec!["topic", "alter", "t", "-p", "4"],
    ] {
        let whole = [arguments, vec!["-b", &bootstrap]].concat();
        let (code, text) = ketcd(&whole);
        assert_eq!(code, Some(0), "{whole:?}: {text}");
    }
    node.wait_for_line(0, "segments deleted", Duration::from_secs(30));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fetch_of_pages_that_are_not_in_memory_faults_on_no_data_thread() {
    // Real disks only: the pages of tmpfs never leave memory.
    let folder =
        tempfile::Builder::new().prefix("ketcd-cold-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let node = Node::dev(folder.path(), &[]).started();
    let bootstrap = node.bootstrap();
    kafka::created(&bootstrap, "t", 1, &[("segment.bytes", "1048576")]).await;
    let mut producer = Producer::new(&bootstrap, "t", 0, 1_000).await;
    for _ in 0..160 {
        producer.send(50).await;
    }
    let segments = drop_from_memory(&folder.path().join("t-0"));
    assert!(segments > 3, "{segments} segments");
    let before = major_faults(node.pid());
    assert!(!before.is_empty(), "the data threads are called otherwise: {:?}", threads_of(node.pid()));
    let found = kafka::read_all(&bootstrap, "t", 0, 0).await;
    assert_eq!(found.len(), 8_000);
    assert_eq!(major_faults(node.pid()), before, "data threads waited for the disk");
    assert!(node.metric("ketcd_sys_blocked_calls_total") == 0.0);
}

/// Writes the sealed segments to the disk and asks the kernel to forget their pages. How many there are. The active one stays: what
/// was just written is in memory, and the broker counts on that.
fn drop_from_memory(partition: &Path) -> usize {
    let files = std::fs::read_dir(partition).unwrap().flatten().map(|file| file.path());
    let mut segments: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "log")).collect();
    segments.sort();
    segments.pop();
    for path in segments.iter().flat_map(|path| [path.clone(), path.with_extension("index")]) {
        let opened = std::fs::File::open(path).unwrap();
        opened.sync_all().unwrap();
        rustix::fs::fadvise(&opened, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    }
    segments.len()
}

/// Major page faults of each data thread so far, by thread id.
fn major_faults(pid: u32) -> BTreeMap<u32, u64> {
    let threads = threads_of(pid).into_iter().filter(|(_, name)| name.starts_with(DATA_THREADS));
    threads
        .map(|(thread, _)| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/task/{thread}/stat")).unwrap();
            let after_name = stat.rsplit_once(')').unwrap().1;
            (thread, after_name.split_whitespace().nth(9).unwrap().parse().unwrap())
        })
        .collect()
}

fn threads_of(pid: u32) -> BTreeMap<u32, String> {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    tasks
        .filter_map(|task| {
            let name = std::fs::read_to_string(task.path().join("comm")).ok()?;
            Some((task.file_name().to_str()?.parse().ok()?, name.trim().to_owned()))
        })
        .collect()
}

/// `1234<name> call(...` as `strace -f -Y` prints it.
fn thread_and_call(line: &str) -> Option<(&str, &str)> {
    let (_, rest) = line.split_once('<')?;
    let (thread, rest) = rest.split_once('>')?;
    let rest = rest.trim_start();
    // The second half of a call that another thread interrupted names itself too.
    let call = rest.strip_prefix("<... ").unwrap_or(rest);
    Some((thread, call.split(['(', ' ']).next()?))
}
