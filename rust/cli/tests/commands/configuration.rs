use crate::dir::TempDir;
use crate::program::run;

#[test]
fn a_default_configuration_is_one_and_explains_every_key() {
    for (command, keys) in [("broker", BROKER), ("gateway", GATEWAY), ("connect", CONNECTOR)] {
        let (code, text, err) = run(&[command, "--print-default-config"], &[]);
        assert_eq!(code, 0, "{command}: {err}");
        match command {
            "broker" => drop(toml_of::<ztna_broker::Config>(&text)),
            "gateway" => drop(toml_of::<ztna_gateway::Config>(&text)),
            _ => drop(toml_of::<ztna_connector::config::Config>(&text)),
        }
        let named = named_keys(&text);
        let keys: Vec<&str> = keys.split_whitespace().collect();
        assert_eq!(named, keys, "{command}");
    }
}

/// The settings in a file's text, read by the command's own rules.
fn toml_of<T: serde::de::DeserializeOwned>(text: &str) -> T {
    let dir = TempDir::new(std::any::type_name::<T>().split(':').next().unwrap_or_default());
    let path = dir.write("default.toml", text);
    ztna_net::settings::load(path.as_ref(), "OPENZTNA_NOT_SET", []).unwrap()
}

/// The keys in a documented configuration, set or shown as examples; each once, and below a comment.
fn named_keys(text: &str) -> Vec<String> {
    let mut table = String::new();
    let mut found: Vec<String> = vec![];
    let mut explained = false;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            table = format!("{name}.");
        } else if let Some((key, _)) =
            line.trim_start_matches("#: ").split_once(" = ").filter(|_| !line.starts_with("# "))
        {
            assert!(explained, "{table}{key} is not explained");
            let key = format!("{table}{key}");
            if found.last() != Some(&key) {
                found.push(key);
            }
        }
        explained = line.starts_with("# ") || (explained && !line.is_empty());
    }
    found
}

#[test]
fn what_is_wrong_in_a_configuration_is_said_with_its_place_and_what_would_be_right() {
    let dir = TempDir::new("wrong");
    let rows = [
        (
            "broker",
            "origni = \"https://a.example\"\n",
            "1:1: unknown field `origni`, expected one of `origin`, `listen`",
        ),
        (
            "broker",
            "\n[limits]\nconnections = \"many\"\n",
            "3:15: invalid type: string \"many\", expected usize",
        ),
        ("broker", "origin = \"http://a.example\"\n", "1:10: "),
        (
            "broker",
            "[log]\nlevel = \"loud\"\n",
            "2:9: unknown variant `loud`, expected one of `error`, `warn`",
        ),
        (
            "broker",
            "[identity]\nprovider = \"mine\"\n",
            "2:12: unknown variant `mine`, expected `own` or `external`",
        ),
        ("broker", "listen = [\n  \"localhost\",\n]\n", "2:3: "),
        (
            "gateway",
            "[udp]\nprot = 1\n",
            "2:1: unknown field `prot`, expected one of `bind`, `port`, `advertise`",
        ),
        (
            "gateway",
            "reach = \"10.0.0.0/8\"\n",
            "1:9: invalid type: string \"10.0.0.0/8\", expected a sequence",
        ),
        ("gateway", "reach = [\"10.0.0.0/33\"]\n", "1:9: `10.0.0.0/33` is not"),
        ("gateway", "[limits]\nflows = -1\n", "2:9: invalid value: integer `-1`, expected u32"),
        ("gateway", "[log]\nformat = \"xml\"\n", "2:10: unknown variant `xml`, expected `text` or `json`"),
        (
            "connect",
            "[proxy]\nlisten = 1080\n",
            "2:10: invalid type: integer `1080`, expected socket address",
        ),
        ("connect", "[proxy]\nport = 1080\n", "2:1: unknown field `port`, expected `listen`"),
        ("connect", "[udp]\nbind = \"v5\"\n", "2:8: unknown variant `v5`, expected one of"),
        ("connect", "org = \"acme.example\"\n", "1:7: "),
        ("connect", "state_dir = \n", "1:13: "),
    ];
    for (command, text, expected) in rows {
        let path = dir.write("wrong.toml", text);
        let (code, out, err) = run(&[command, "--config", &path], &[]);
        assert_eq!(code, 64, "{command}: {text}{out}{err}");
        let expected = format!("{path}:{expected}");
        assert!(err.starts_with(&expected), "{command}:\n{text}said {err}and should have said {expected}");
    }
}

#[test]
fn a_variable_that_is_wrong_is_named() {
    let dir = TempDir::new("variables");
    let path = dir.write("right.toml", "");
    let rows = [
        ("broker", "OPENZTNA_BROKER_LIMITS__CONNECTIONS", "many", "expected usize"),
        ("broker", "OPENZTNA_BROKER_ORIGNI", "https://a.example", "expected one of `origin`"),
        ("gateway", "OPENZTNA_GATEWAY_UDP__PORT", "70000", "expected u16"),
        ("gateway", "OPENZTNA_GATEWAY_REACH", "10.0.0.0/8", "expected a sequence"),
        ("connect", "OPENZTNA_CONNECTOR_PROXY__LISTEN", "1080", "expected socket address"),
        ("connect", "OPENZTNA_CONNECTOR_ORG", "acme.example", "https://"),
    ];
    for (command, variable, value, expected) in rows {
        let (code, out, err) = run(&[command, "--config", &path], &[(variable, value)]);
        assert_eq!(code, 64, "{variable}: {out}{err}");
        assert!(err.contains(variable) && err.contains(expected), "{variable}={value}: {err}");
    }
}

const BROKER: &str = "origin listen state_dir name tls.certificate tls.key gateways.listen gateways.name \
    identity.provider identity.domains identity.client_id identity.scopes identity.redirects \
    identity.password_checks identity.issuer identity.ca_file organisation.title organisation.first_device \
    organisation.devices_per_person organisation.lease_ttl_s organisation.tier organisation.simulated \
    organisation.suffixes limits.connections limits.connections_per_source limits.requests_per_second limits.requests_at_once \
    limits.frames_per_second limits.frames_at_once audit.keep_days log.level log.format";
const GATEWAY: &str = "org state_dir reach forwarding tun.device tun.peers_v4 tun.peers_v6 udp.bind udp.port udp.advertise limits.leases limits.flows \
    limits.flows_per_device limits.buffers_mib leases.file leases.gateway log.level log.format";
const CONNECTOR: &str = "org state_dir device_name tun.enabled tun.name tun.offload proxy.listen udp.bind \
    trust.issuer_roots signals.simulated";
