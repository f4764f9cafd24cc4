//! `deploy/compose.yaml`: a document that parses, whose brokers start without a word and find each other.

use serde_yaml_ng::Value;

use super::*;

fn compose() -> Value {
    let text = std::fs::read_to_string("deploy/compose.yaml").unwrap();
    let mut document: Value = serde_yaml_ng::from_str(&text).unwrap();
    document.apply_merge().unwrap();
    document
}

fn texts(list: &Value) -> Vec<String> {
    list.as_sequence().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
}

#[test]
fn compose_runs_three_brokers_of_one_cluster() {
    let document = compose();
    let mut ids = Vec::new();
    for name in ["broker-1", "broker-2", "broker-3"] {
        let service = &document["services"][name];
        assert_eq!(texts(&service["command"]), ["broker"]);
        let mut options = options(Mode::Broker);
        for (variable, value) in service["environment"].as_mapping().unwrap() {
            let value = value.as_str().unwrap_or_else(|| panic!("{variable:?} is not a text"));
            options.env.insert(variable.as_str().unwrap().to_owned(), value.to_owned());
        }
        let config = load(&options).unwrap();
        assert!(
            config.warnings().is_empty() && config.without_effect().is_empty(),
            "{:?}",
            config.warnings()
        );
        let keys = config.broker();
        ids.push(keys.node_id.unwrap().get());
        assert_eq!(keys.cluster_name, "compose");
        assert_eq!(keys.default_replication_factor, 3);
        let between = keys.replication.inter_broker_listener.as_deref();
        let inside =
            keys.advertised_listeners.iter().find(|listener| Some(listener.name.as_str()) == between);
        assert_eq!(
            inside.map(|listener| listener.host.as_str()),
            Some(name),
            "containers find each other by name"
        );
        let outside =
            keys.advertised_listeners.iter().find(|listener| Some(listener.name.as_str()) != between);
        let port = outside.unwrap().port;
        let admin = keys.admin_listen.unwrap().port();
        let published = texts(&service["ports"]);
        assert!(published.contains(&format!("127.0.0.1:{port}:{port}")), "{published:?}");
        assert!(published.iter().any(|ports| ports.ends_with(&format!(":{admin}"))), "{published:?}");
        let volume = texts(&service["volumes"]).remove(0);
        let (volume, place) = volume.split_once(':').unwrap();
        assert!(document["volumes"].get(volume).is_some(), "{volume} is declared");
        assert_eq!(keys.log_dirs, [std::path::Path::new(place)]);
        let EtcdEndpoints::Servers(servers) = &keys.etcd.endpoints else { panic!("a real etcd") };
        let etcd = servers[0].trim_start_matches("http://").split(':').next().unwrap();
        assert!(document["services"].get(etcd).is_some(), "{etcd} is a service");
    }
    assert_eq!(ids, [1, 2, 3]);
}
