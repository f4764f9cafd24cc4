//! Large groups: what a heartbeat that changes nothing writes and costs does not grow with the group.

use std::time::Duration;

use super::client::Client;
use super::world::World;
use crate::coordinator::group::command::{Answer, Command, GroupState};
use crate::protocol::error::ErrorCode;
use crate::types::Clock;

fn joined(world: &mut World, members: usize) -> Vec<Client> {
    let mut clients: Vec<Client> =
        (0..members).map(|number| Client::new(number, 0, false, false, false)).collect();
    for client in &mut clients {
        client.topics = vec!["t".into()];
        beat(world, client);
    }
    clients
}

fn beat(world: &mut World, client: &mut Client) -> usize {
    client.carry_out();
    let (_, turn) = world.ask(client.request(&world.image).unwrap());
    for (_, answer) in turn.answers {
        assert!(matches!(&answer, Answer::ConsumerHeartbeat(a) if a.error == ErrorCode::None), "{answer:?}");
        client.receive(answer);
    }
    turn.records.len()
}

fn settle(world: &mut World, clients: &mut [Client]) {
    for _ in 0..20 {
        world.advance(1000);
        for client in &mut *clients {
            beat(world, client);
        }
        if world.described().state == GroupState::Stable {
            clients.iter_mut().for_each(|client| drop(client.carry_out()));
            return;
        }
    }
    panic!("not settled: {:?}", world.described().state);
}

#[test]
fn a_thousand_members_join_and_one_leaves() {
    let mut world = World::new();
    world.set_topic("t", 3000);
    let mut clients = joined(&mut world, 1000);
    settle(&mut world, &mut clients);
    for client in &mut clients {
        beat(&mut world, client);
    }
    let clock = Clock::system();
    let begin = clock.elapsed();
    for client in &mut clients {
        assert_eq!(beat(&mut world, client), 0, "nothing changed, so nothing is written");
    }
    let took = clock.elapsed() - begin;
    assert!(took < Duration::from_secs(2), "a thousand heartbeats without news took {took:?}");
    let gone = clients.pop().unwrap();
    world.ask(gone.goodbye(false).unwrap());
    settle(&mut world, &mut clients);
    let owned: usize = clients.iter().map(|client| client.owned.len()).sum();
    assert_eq!(owned, 3000);
}

#[test]
fn a_group_takes_no_more_than_its_size() {
    let mut world = World::new();
    world.settings.consumer_max_size = 3;
    world.set_topic("t", 3);
    let mut clients = joined(&mut world, 3);
    let mut late = Client::new(9, 0, false, false, false);
    late.topics = vec!["t".into()];
    let Command::ConsumerHeartbeat(request) = late.request(&world.image).unwrap() else { panic!() };
    let (_, turn) = world.ask(Command::ConsumerHeartbeat(request));
    let Answer::ConsumerHeartbeat(answer) = &turn.answers[0].1 else { panic!() };
    assert_eq!(answer.error, ErrorCode::GroupMaxSizeReached);
    assert_eq!(
        answer.message.as_deref(),
        Some("The consumer group has reached its maximum capacity of 3 members.")
    );
    settle(&mut world, &mut clients);
}
