//! What settings may be, and where they come from.

use super::*;

fn load(flags: Settings, file: &str) -> anyhow::Result<Config> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("kenning.toml");
    std::fs::write(&path, file)?;
    Config::load(flags, Some(&path))
}

#[test]
fn flags_override_the_file_and_the_file_overrides_the_defaults() {
    let flags = Settings { log: Some("debug".into()), ..Settings::default() };
    let file = "log = \"warn\"\nembedder = \"hash\"\ndata_dir = \"somewhere\"";
    let config = load(flags, file).unwrap();
    assert_eq!(config.log, "debug");
    assert_eq!(config.embedder, EmbedderChoice::Hash);
    assert_eq!(config.storage, "embedded:somewhere/facts");
    assert_eq!(config.layout, LayoutWord::Tenant);
}

#[test]
fn limits_come_from_the_file() {
    let config = load(Settings::default(), "[limits]\nsearch_ms = 1500\n").unwrap();
    assert_eq!(config.limits.search.as_millis(), 1_500);
    assert_eq!(config.limits.call, Limits::default().call);
}

#[test]
fn settings_that_cannot_be_meant_are_refused() {
    for file in [
        "embedder_threads = 0",
        "embedder_threads = 20000",
        "lissten = \"x\"",
        "[limits]\nserach_ms = 1",
        "embedder = \"magic\"",
    ] {
        assert!(load(Settings::default(), file).is_err(), "{file}");
    }
}

#[test]
fn the_keys_of_the_file_have_the_names_of_the_flags() {
    let command = Settings::augment_args(clap::Command::new("serve"));
    for flag in command.get_arguments().filter_map(clap::Arg::get_long) {
        // No value of all these types: what is refused is the value, and never the name.
        let flag = flag.replace("jwt-", "jwt.").replace("otlp-", "otlp.");
        let refused = toml::from_str::<Settings>(&format!("{flag} = [[]]")).unwrap_err();
        assert!(!refused.message().contains("unknown field"), "{flag}: {refused}");
    }
    let config = load(Settings::default(), "data-dir = \"there\"\nlog-format = \"json\"");
    let config = config.unwrap();
    assert_eq!(config.data_dir, Path::new("there"));
    assert_eq!(config.log_format, LogFormat::Json);
}

#[test]
fn an_empty_value_in_the_file_is_refused_by_name() {
    for (file, named) in [
        ("storage = \"\"", "storage"),
        ("log = \" \"", "log"),
        ("listen = \"127.0.0.1:0\"\ndata-dir = ''", "data-dir"),
    ] {
        let error = load(Settings::default(), file).unwrap_err().to_string();
        assert!(error.contains(&format!("{named} is empty")), "{error}");
    }
}

#[test]
fn a_log_filter_is_checked_wherever_it_comes_from() {
    let flags = Settings { log: Some("wran".into()), ..Settings::default() };
    assert!(load(flags, "").unwrap_err().to_string().contains("did you mean warn?"));
    let error = load(Settings::default(), "log = \"verbose\"").unwrap_err().to_string();
    assert!(error.contains("verbose"), "{error}");
}

#[test]
fn a_file_with_a_secret_that_others_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("kenning.toml");
    let warned = |text: &str, mode: u32| {
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        Config::load(Settings::default(), Some(&path)).unwrap().warnings.join(" ")
    };
    let secret = "admin_key = \"0123456789abcdef\"";
    assert!(warned(secret, 0o644).contains("chmod 600"));
    assert!(warned("storage = \"redis://:pw@h:1\"", 0o640).contains("chmod 600"));
    assert_eq!(warned(secret, 0o600), "");
    assert_eq!(warned("log = \"info\"", 0o644), "");
}

#[test]
fn a_remote_embedder_needs_a_model() {
    let file = "embedder = \"ollama:http://127.0.0.1:11434\"";
    let error = load(Settings::default(), file).unwrap_err().to_string();
    assert!(error.contains("--embedding-model"), "{error}");
    let named = format!("{file}\nembedding_model = \"nomic-embed-text\"");
    let config = load(Settings::default(), &named).unwrap();
    assert_eq!(config.remote_embedder().unwrap().model, "nomic-embed-text");
    for wrong in ["embedding_dimensions = 0", "embedding_dimensions = 8193"] {
        let error = load(Settings::default(), &format!("{named}\n{wrong}")).unwrap_err();
        assert!(error.to_string().contains("1 to 8192"), "{error}");
    }
}

#[test]
fn a_model_without_a_remote_embedder_is_refused() {
    let error = load(Settings::default(), "embedding_model = \"m\"").unwrap_err();
    assert!(error.to_string().contains("remote embedder"), "{error}");
}

#[test]
fn addresses_other_than_loopback_are_refused_without_keys() {
    let flags = Settings { listen: Some("0.0.0.0:7171".into()), ..Settings::default() };
    assert!(load(flags.clone(), "").unwrap_err().to_string().contains("loopback"));
    let config = load(flags, "admin_key = \"0123456789abcdef\"").unwrap();
    assert!(config.admin_keys.unwrap().find("0123456789abcdef").is_some());
}

#[test]
fn a_socket_in_the_file_system_is_on_this_machine() {
    let config = load(Settings::default(), "listen = \"unix:/run/kb.sock\"").unwrap();
    assert_eq!(config.listen, Listen::Unix("/run/kb.sock".into()));
    assert!(config.listen.is_loopback());
    assert_eq!(Listen::parse("unix:///run/kb.sock").unwrap(), config.listen);
    assert!(load(Settings::default(), "listen = \"unix:\"").is_err());
    let both = "listen = \"unix:/run/kb.sock\"\ntls_cert = \"c\"\ntls_key = \"k\"";
    assert!(load(Settings::default(), both).unwrap_err().to_string().contains("no effect"));
}

#[test]
fn a_certificate_and_its_key_come_together() {
    let config = load(Settings::default(), "tls_cert = \"c.pem\"\ntls-key = \"k.pem\"");
    assert_eq!(config.unwrap().tls.unwrap().key, Path::new("k.pem"));
    for (file, needs) in
        [("tls_cert = \"c\"", "needs --tls-key"), ("tls_key = \"k\"", "--tls-cert")]
    {
        let error = load(Settings::default(), file).unwrap_err().to_string();
        assert!(error.contains(needs), "{error}");
    }
}

#[test]
fn private_hosts_are_names_and_addresses() {
    let config = load(Settings::default(), "private_hosts = [\"127.0.0.1:8080\", \"a.internal\"]");
    let named: Vec<String> =
        config.unwrap().private_hosts.iter().map(ToString::to_string).collect();
    assert_eq!(named, ["127.0.0.1:8080", "a.internal"]);
    let error = load(Settings::default(), "private_hosts = [\"10.0.0.0/8\"]").unwrap_err();
    assert!(error.to_string().contains("--private-hosts: \"10.0.0.0/8\""), "{error}");
}

#[test]
fn trusted_proxies_are_addresses_and_networks() {
    let config = load(Settings::default(), "trusted_proxies = [\"10.0.0.0/8\", \"::1\"]").unwrap();
    assert!(config.trusted_proxies.include(Some("10.9.9.9".parse().unwrap())));
    assert!(!config.trusted_proxies.include(None));
    let error = load(Settings::default(), "trusted_proxies = [\"lb.internal\"]").unwrap_err();
    assert!(error.to_string().contains("--trusted-proxies: \"lb.internal\""), "{error}");
}

#[test]
fn allowed_hosts_and_origins_are_lists_and_are_checked() {
    let file = "allowed_hosts = [\"kb.internal\", \"kb:80\"]\nallowed_origins = [\"http://a\"]";
    let config = load(Settings::default(), file).unwrap();
    let written: Vec<_> = config.allowed_hosts.iter().map(ToString::to_string).collect();
    assert_eq!(written, ["kb.internal", "kb:80"]);
    assert_eq!(config.allowed_origins.len(), 1);
    let empty = Settings { allowed_hosts: Some(vec![String::new()]), ..Settings::default() };
    assert!(load(empty, "").unwrap().allowed_hosts.is_empty());
    for (file, named) in [
        ("allowed_hosts = [\"http://kb.internal\"]", "--allowed-hosts: \"http://kb.internal\""),
        ("allowed_hosts = [\"*\"]", "--allowed-hosts: \"*\""),
        ("allowed_origins = [\"kb.internal\"]", "--allowed-origins: \"kb.internal\""),
        ("allowed_origins = [\"*\"]", "--allowed-origins: \"*\""),
    ] {
        let error = load(Settings::default(), file).unwrap_err().to_string();
        assert!(error.contains(named), "{error}");
    }
}

#[test]
fn errors_do_not_repeat_a_refused_admin_key() {
    for (file, why) in [
        ("\nadmin_key = \"hunter2\"", "16 bytes"),
        ("\nadmin_key = 1002200", "in quotes"),
        ("\nadmin_key = \"1002200", "line 2"),
    ] {
        let error = format!("{:#}", load(Settings::default(), file).unwrap_err());
        assert!(error.contains(why) && error.contains("line 2"), "{error}");
        assert!(!error.contains("hunter2") && !error.contains("1002200"), "{error}");
    }
}
