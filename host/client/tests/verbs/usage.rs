use clap::{CommandFactory, Parser};

use crate::fake::{Cli, Fake, json};

fn refused(args: &[&str]) -> String {
    let error = Cli::try_parse_from(["kenning"].iter().chain(args)).unwrap_err();
    assert_eq!(error.exit_code(), 2);
    error.to_string()
}

#[test]
fn the_command_line_is_well_formed() {
    Cli::command().debug_assert();
}

#[test]
fn a_wrong_command_line_is_refused_before_anything_is_sent() {
    assert!(refused(&["store", "x", "--metadata", "[1]"]).contains("not a JSON object"));
    assert!(refused(&["search", "x", "--filter", "{"]).contains("not JSON"));
    assert!(refused(&["search", "x", "-k", "0"]).contains("1..=1000"));
    assert!(refused(&["search", "x", "-k", "1001"]).contains("1..=1000"));
    assert!(refused(&["search", "x", "--mode", "guess"]).contains("hybrid"));
    assert!(refused(&["list", "--limit", "1001"]).contains("1..=1000"));
    assert!(refused(&["stats", "--timeout-ms", "0"]).contains("timeout-ms"));
    assert!(refused(&["update", "x"]).contains("--text"));
}

#[test]
fn every_verb_has_help_with_an_example_and_a_server() {
    for verb in Cli::command().get_subcommands_mut() {
        let mut help = String::new();
        match verb.has_subcommands() {
            true => verb.get_subcommands_mut().for_each(|one| help += &one_verbs_help(one)),
            false => help = one_verbs_help(verb),
        }
        let name = verb.get_name();
        assert!(name == "stats" || help.contains(&format!("kenning {name} ")), "{help}");
    }
}

fn one_verbs_help(verb: &mut clap::Command) -> String {
    let help = verb.render_long_help().to_string();
    assert!(help.contains("KENNING_SERVER"), "{help}");
    help
}

#[test]
fn a_key_is_not_printed() {
    let typed = ["kenning", "stats", "--key", "hunter2"];
    let shown = format!("{:?}", Cli::try_parse_from(typed).unwrap());
    assert!(shown.contains("Key") && !shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn the_connection_goes_into_the_headers() {
    let fake = Fake::saying("{}").await;
    fake.run(&["stats", "--tenant", "acme", "--key", "k1", "--timeout-ms", "250"]).await;
    let asked = fake.only_asked();
    assert_eq!(asked.header("x-kenning-tenant"), Some("acme"));
    assert_eq!(asked.header("authorization"), Some("Bearer k1"));
    assert_eq!(asked.header("x-kenning-timeout-ms"), Some("250"));
    let agent = concat!("kenning/", env!("CARGO_PKG_VERSION"));
    assert_eq!(asked.header("user-agent"), Some(agent));
}

#[tokio::test]
async fn an_empty_tenant_or_key_is_none() {
    let fake = Fake::saying("{}").await;
    fake.run(&["stats", "--tenant", "", "--key", ""]).await;
    let asked = fake.only_asked();
    assert_eq!((asked.header("x-kenning-tenant"), asked.header("authorization")), (None, None));
}

#[tokio::test]
async fn an_address_with_a_path_keeps_it() {
    let fake = Fake::answering([json(200, "{}"), json(200, "{}")]).await;
    for path in ["/kb", "/kb/"] {
        let url = format!("{}{path}", fake.url);
        let form = kenning_client::Form::Plain;
        crate::fake::run(&url, form, &["stats"], std::io::empty(), Default::default()).await;
    }
    assert!(fake.asked().iter().all(|asked| asked.line == "GET /kb/v1/stats"));
}
