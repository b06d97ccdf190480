use clap::{CommandFactory, Parser};
use kenning_client::tenant::Quota;
use kenning_client::{Command, TenantCommand};

use crate::fake_server::{Cli, FakeServer, json};

fn rejected(args: &[&str]) -> String {
    let error = Cli::try_parse_from(["kenning"].iter().chain(args)).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    error.to_string()
}

#[test]
fn the_definition_of_the_command_line_is_valid() {
    Cli::command().debug_assert();
}

#[test]
fn an_invalid_command_line_is_rejected_before_anything_is_sent() {
    assert!(rejected(&["store", "x", "--metadata", "[1]"]).contains("not a JSON object"));
    assert!(rejected(&["search", "x", "--filter", "{"]).contains("not JSON"));
    assert!(rejected(&["search", "x", "-k", "0"]).contains("1..=1000"));
    assert!(rejected(&["search", "x", "-k", "1001"]).contains("1..=1000"));
    assert!(rejected(&["search", "x", "--mode", "guess"]).contains("hybrid"));
    assert!(rejected(&["search", "x", "--min-relevance", "2"]).contains("from 0 to 1"));
    assert!(rejected(&["search", "x", "--recency-weight", "1"]).contains("--recency"));
    assert!(rejected(&["list", "--limit", "1001"]).contains("1..=1000"));
    assert!(rejected(&["stats", "--timeout-ms", "0"]).contains("timeout-ms"));
    assert!(rejected(&["update", "x"]).contains("--text"));
}

#[test]
fn every_command_has_help_with_an_example_and_the_server_option() {
    for command in Cli::command().get_subcommands_mut() {
        let mut help = String::new();
        match command.has_subcommands() {
            true => command.get_subcommands_mut().for_each(|one| help += &help_of(one)),
            false => help = help_of(command),
        }
        let name = command.get_name();
        assert!(name == "stats" || help.contains(&format!("kenning {name} ")), "{help}");
    }
}

fn help_of(command: &mut clap::Command) -> String {
    let help = command.render_long_help().to_string();
    assert!(help.contains("KENNING_SERVER"), "{help}");
    help
}

#[test]
fn the_quota_command_still_has_its_old_name() {
    for name in ["quota", "limits"] {
        let parsed = Cli::try_parse_from(["kenning", "tenant", name, "acme", "facts=7"]).unwrap();
        let Command::Tenant(TenantCommand::Quota(call)) = parsed.command else {
            panic!("{parsed:?}")
        };
        assert_eq!(call.args.quotas, [Quota { name: "facts".to_owned(), value: Some(7) }]);
    }
}

#[test]
fn a_key_is_not_printed() {
    let typed = ["kenning", "stats", "--key", "hunter2"];
    let shown = format!("{:?}", Cli::try_parse_from(typed).unwrap());
    assert!(shown.contains("Key") && !shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn the_connection_options_become_headers() {
    let server = FakeServer::responding_json("{}").await;
    server.run(&["stats", "--tenant", "acme", "--key", "k1", "--timeout-ms", "250"]).await;
    let request = server.only_request();
    assert_eq!(request.header("x-kenning-tenant"), Some("acme"));
    assert_eq!(request.header("authorization"), Some("Bearer k1"));
    assert_eq!(request.header("x-kenning-timeout-ms"), Some("250"));
    let agent = concat!("kenning/", env!("CARGO_PKG_VERSION"));
    assert_eq!(request.header("user-agent"), Some(agent));
}

#[tokio::test]
async fn an_empty_tenant_or_key_is_ignored() {
    let server = FakeServer::responding_json("{}").await;
    server.run(&["stats", "--tenant", "", "--key", ""]).await;
    let request = server.only_request();
    assert_eq!((request.header("x-kenning-tenant"), request.header("authorization")), (None, None));
}

#[tokio::test]
async fn the_path_of_the_address_is_kept() {
    let server = FakeServer::responding([json(200, "{}"), json(200, "{}")]).await;
    for path in ["/kb", "/kb/"] {
        let url = format!("{}{path}", server.url);
        let format = kenning_client::OutputFormat::Plain;
        crate::fake_server::run(&url, format, &["stats"], std::io::empty(), Default::default())
            .await;
    }
    assert!(server.requests().iter().all(|request| request.line == "GET /kb/v1/stats"));
}
