//! Completions for shells, and manual pages.

use std::fs;
use std::path::Path;

use anyhow::Result;
use kenning_tests::{Ran, command, run};
use tokio::process::Command;

use super::{content, said, unpacked};

/// What is for internal use.
const HIDDEN: [&str; 2] = ["compile-component", "man-pages"];

async fn kenning(home: &Path, arguments: &[&str]) -> Result<Ran> {
    let ran = run(command(home, arguments)?, b"").await?;
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{arguments:?}");
    Ok(ran)
}

#[tokio::test]
async fn each_shells_completions_know_the_commands_and_none_for_internal_use() -> Result<()> {
    let home = tempfile::tempdir()?;
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = kenning(home.path(), &["completions", shell]).await?.out;
        for known in ["extension", "rotate-key", "check-config", "completions"] {
            assert!(script.contains(known), "{shell}: {known}");
        }
        for hidden in HIDDEN {
            assert!(!script.contains(hidden), "{shell}: {hidden}");
        }
    }
    let ran = run(command(home.path(), &["completions", "tcsh"])?, b"").await?;
    assert_eq!(ran.code, Some(2), "{ran:?}");
    assert!(ran.err.contains("possible values: bash"), "{ran:?}");
    Ok(())
}

#[tokio::test]
async fn bash_completes_commands_and_flags() -> Result<()> {
    const ASK: &str = "\
source kenning.bash
COMP_WORDS=(kenning \"$@\") COMP_CWORD=$# COMPREPLY=()
_kenning kenning \"${@: -1}\" \"${COMP_WORDS[$# - 1]}\"
printf '%s\\n' \"${COMPREPLY[@]}\" | sort";
    let home = tempfile::tempdir()?;
    let script = kenning(home.path(), &["completions", "bash"]).await?.out;
    fs::write(home.path().join("kenning.bash"), script)?;
    for (typed, completed) in [
        (&["ex"][..], "export\nextension\n"),
        (&["serve", "--allowed"], "--allowed-hosts\n--allowed-origins\n"),
        (&["tenant", "ro"], "rotate-key\n"),
        (&["completions", "z"], "zsh\n"),
    ] {
        let mut bash = Command::new("bash");
        bash.args(["--norc", "-eu", "-c", ASK, "bash"]).args(typed).current_dir(home.path());
        assert_eq!(content(&mut bash).await?, completed, "{typed:?}");
    }
    Ok(())
}

#[tokio::test]
async fn every_command_has_a_manual_page_without_mistakes() -> Result<()> {
    let home = tempfile::tempdir()?;
    let folder = home.path().join("man/man1");
    kenning(home.path(), &["man-pages", &folder.to_string_lossy()]).await?;
    let mut pages = Vec::new();
    for entry in fs::read_dir(&folder)? {
        pages.push(entry?.file_name().to_string_lossy().into_owned());
    }
    for page in ["kenning.1", "kenning-serve.1", "kenning-tenant-rotate-key.1"] {
        assert!(pages.iter().any(|known| known == page), "{page}: {pages:?}");
    }
    let is_internal = |page: &String| HIDDEN.iter().any(|hidden| page.contains(hidden));
    assert!(!pages.iter().any(is_internal), "{pages:?}");
    let mut mandoc = unpacked("mandoc", "mandoc")?;
    mandoc.args(["-T", "lint", "-W", "warning"]).args(&pages).current_dir(&folder);
    let (_, complaints) = said(&mut mandoc).await?;
    // A break that changes nothing, after the values that a flag may have.
    let is_mistake = |line: &&str| !line.contains("skipping paragraph macro: br");
    let mistakes: Vec<&str> = complaints.lines().filter(is_mistake).collect();
    assert_eq!(mistakes, [""; 0]);
    let serve = fs::read_to_string(folder.join("kenning-serve.1"))?;
    for said in ["KENNING_STORAGE", "KENNING_ADMIN_KEY_FILE", "KENNING_LIMITS_SEARCH_MS"] {
        assert!(serve.contains(said), "{said}: {serve}");
    }
    Ok(())
}
