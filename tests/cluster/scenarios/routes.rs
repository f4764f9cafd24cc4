//! Packets dropped between servers: a broker without etcd, without its followers, deaf, dumb, alone.

use super::cluster;
use crate::cluster::{Options, PATIENCE};
use crate::faults::{self, Count, Cut};
use crate::load::{Load, TOPIC, Work};
use crate::network::{self, Network};
use crate::turn;

#[test]
fn a_broker_cut_off_from_etcd_or_from_everybody_is_replaced() {
    turn::apart(|network| async { cuts(network, &[Cut::FromEtcd, Cut::FromAll]).await });
}

#[test]
fn a_broker_cut_off_from_the_others_in_both_or_one_direction_loses_nothing() {
    turn::apart(|network| async { cuts(network, &[Cut::FromBrokers, Cut::ToBrokers, Cut::OfBrokers]).await });
}

/// N1 with a minimum of two in sync: the leader that nobody hears acknowledges nothing, and says so by its ISR.
#[test]
fn a_leader_of_everything_that_no_follower_hears_waits_for_them() {
    turn::apart(|network| async {
        let options = Options { network: Some(network), ..Options::default() };
        let Some(mut cluster) = cluster(options).await else { return };
        let load = Load::start(&cluster, Work { clients: 100, ..Work::default() }).await;
        for id in [2, 3] {
            faults::stop(&mut cluster, &load, id, &mut Count::default()).await;
            cluster.until_whole(TOPIC, PATIENCE).await;
        }
        let (leader, led) = faults::a_leader(&cluster).await;
        Cut::FromBrokers.make(&mut cluster, leader);
        let alone = |view: &crate::directory::View| led.iter().all(|p| view.partitions[p].isr == [leader]);
        cluster.until(TOPIC, "its in-sync replicas are itself", PATIENCE, alone).await;
        let window = load.window_of("cut off", led.clone());
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        assert_eq!(load.acked_in(&window).0, 0, "acks=all by a leader alone, of at least two");
        cluster.heal();
        load.finish(&mut cluster).await;
    });
}

async fn cuts(network: Network, cuts: &[Cut]) {
    let Some(mut cluster) = cluster(Options { network: Some(network), ..Options::default() }).await else {
        return;
    };
    let load = Load::start(&cluster, Work::default()).await;
    let mut count = Count::default();
    for &cut in cuts {
        let (leader, _) = faults::a_leader(&cluster).await;
        faults::cut_off(&mut cluster, &load, leader, cut, &mut count).await;
        cluster.until_whole(TOPIC, PATIENCE).await;
    }
    load.finish(&mut cluster).await;
}

/// What the others rest on: a cut is silent, of one direction, of open connections too, and heals.
#[test]
fn packets_are_dropped_in_one_direction_without_a_word() {
    turn::apart(|mut network| async move {
        for number in [1, 2] {
            network.add(number).unwrap();
        }
        // Server 2 prints what it is told, one datagram a line; server 1 says something; the test says who is heard.
        assert!(heard(&network, 1, 2) && heard(&network, 2, 1));
        network.cut(1, 2);
        assert!(!heard(&network, 1, 2), "dropped");
        assert!(heard(&network, 2, 1), "the other direction");
        network.heal();
        assert!(heard(&network, 1, 2) && heard(&network, 2, 1));
    });
}

/// Whether a datagram from one server comes to another one.
fn heard(network: &Network, from: u8, to: u8) -> bool {
    use std::io::Read as _;
    use std::process::{Command, Stdio};
    let python = |at: u8, script: String| {
        let under = network.inside(at);
        let mut command = Command::new(&under[0]);
        command.args(&under[1..]).args(["python3", "-c", &script]).stdout(Stdio::piped());
        command.spawn().expect("python")
    };
    let address = network::address(to);
    let listen = format!(
        "import socket\ns=socket.socket(socket.AF_INET,socket.SOCK_DGRAM)\ns.bind(('{address}',7))\ns.settimeout(2)\n\
         print('up',flush=True)\ntry:\n s.recv(9)\n print('heard',flush=True)\nexcept TimeoutError:\n print('never',flush=True)"
    );
    let mut listener = python(to, listen);
    let mut said = [0; 3];
    listener.stdout.as_mut().unwrap().read_exact(&mut said).unwrap();
    let speak = format!(
        "import socket\nsocket.socket(socket.AF_INET,socket.SOCK_DGRAM).sendto(b'x',('{address}',7))"
    );
    assert!(python(from, speak).wait().unwrap().success(), "a cut says nothing to the sender");
    let mut said = String::new();
    listener.stdout.as_mut().unwrap().read_to_string(&mut said).unwrap();
    listener.wait().unwrap();
    said == "heard\n"
}
