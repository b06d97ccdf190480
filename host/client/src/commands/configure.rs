//! `kenning extension configure`: what an extension reads as its settings.

use std::path::Path;

use reqwest::Method;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::report::print_report;
use crate::admin::ConfigureArgs;
use crate::progress::Progress;
use crate::{Error, Server, Terminal};

pub(super) async fn configure(
    server: &Server,
    path: &[&str],
    args: &ConfigureArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let mut parameters = args.proof.parameters();
    parameters.extend(args.dry_run.then(|| ("dry_run", "true".into())));
    let request = server.request(Method::PUT, path)?.query(&parameters).json(&read(&args.file)?);
    let progress = Progress::steps(terminal.shows_progress());
    let report = server.swap(request, &progress).await;
    progress.clear();
    print_report(&report?, terminal)
}

/// The JSON object in a file, as it is written there.
pub(super) fn read(file: &Path) -> Result<Box<RawValue>, Error> {
    let named = || file.display().to_string();
    let text =
        std::fs::read_to_string(file).map_err(|cause| Error::Input { what: named(), cause })?;
    let not_settings =
        |error| Error::Usage(format!("{}: settings are a JSON object: {error}", named()));
    serde_json::from_str::<Map<String, Value>>(&text).map_err(not_settings)?;
    serde_json::from_str(&text).map_err(not_settings)
}
