//! Changes as they are written: networks, ports, owners, and the JSON of them.

use serde_json::json;

use super::*;

#[test]
fn a_network_is_written_with_its_prefix_or_is_the_default() {
    for text in ["default", "10.1.0.0/16", "192.0.2.7/32", "2001:db8::/32"] {
        assert_eq!(text.parse::<Network>().unwrap().to_string(), text);
    }
    assert_eq!("0.0.0.0/0".parse::<Network>(), "default".parse());
    for wrong in ["", "10.1.0.0", "10.1.0.0/33", "Default", "10.1/16"] {
        assert!(matches!(wrong.parse::<Network>(), Err(NetworkError::NoNetwork(_))), "{wrong}");
    }
    let meant = "10.1.2.3/16".parse::<Network>().unwrap_err();
    assert!(meant.to_string().ends_with("the network is 10.1.0.0/16"), "{meant}");
}

#[test]
fn a_port_is_written_with_its_protocol() {
    for text in ["tcp/80", "udp/65535", "icmp/0"] {
        assert_eq!(text.parse::<PortName>().unwrap().to_string(), text);
    }
    for wrong in ["", "80", "tcp", "tcp/", "tcp/0", "tcp/65536", "TCP/80", "sctp/80", "udp/53/1"] {
        assert!(wrong.parse::<PortName>().unwrap_err().to_string().contains("udp/53"), "{wrong}");
    }
}

#[test]
fn an_owner_is_a_shard_or_every_or_none() {
    for text in ["shard 0", "shard 65535", "every", "none"] {
        assert_eq!(text.parse::<PortOwner>().unwrap().to_string(), text);
    }
    for wrong in ["", "shard", "shard x", "shard -1", "2", "all", "shard  2"] {
        assert!(wrong.parse::<PortOwner>().is_err(), "{wrong}");
    }
}

#[test]
fn a_change_is_json_of_texts() {
    let add = Change::AddRoute { network: "default".parse().unwrap(), gateway: "10.0.0.1".parse().unwrap() };
    assert_eq!(
        serde_json::to_value(add).unwrap(),
        json!({ "add_route": { "network": "default", "gateway": "10.0.0.1" } })
    );
    for change in [
        json!({ "add_address": "10.0.0.3/24" }),
        json!({ "remove_address": "10.0.0.3/24" }),
        json!({ "remove_route": { "network": "10.1.0.0/16" } }),
        json!({ "set_port": { "port": "udp/53", "owner": "shard 2" } }),
    ] {
        let read: Change = serde_json::from_value(change.clone()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), change);
    }
}
