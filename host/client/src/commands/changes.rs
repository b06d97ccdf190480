//! Prints what changed, and goes on with what changes.
//!
//! The stream ends when the server stops; another host, or the same one later, goes on from the
//! last position. Only what would fail again ends the command.

use std::time::Duration;

use reqwest::{Method, Response};
use serde::Deserialize;
use tokio::time::sleep;

use crate::events::{Event, Events};
use crate::terminal::Paint;
use crate::text::sanitize;
use crate::{ChangesArgs, Error, OutputFormat, Server, Terminal};

/// The pause before it connects again: at first, and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LAST_PAUSE: Duration = Duration::from_secs(10);

#[derive(Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
enum Change {
    Gap {
        from: u64,
        to: u64,
    },
    #[serde(untagged)]
    Of {
        kind: String,
        id: String,
        revision: u64,
    },
}

pub(super) async fn changes(
    server: &Server,
    args: &ChangesArgs,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    // Without a revision: all that are kept, or those from now on.
    let mut position = args.after.or((!args.follow).then_some(0)).map(|after| after.to_string());
    let response = open(server, args, position.as_deref()).await?;
    if !args.follow {
        return read(server, response, &mut position, terminal).await;
    }
    let mut response = Some(response);
    let mut pause = FIRST_PAUSE;
    loop {
        let before = position.clone();
        let read = match response.take() {
            Some(response) => read(server, response, &mut position, terminal).await,
            None => match open(server, args, position.as_deref()).await {
                Ok(response) => read(server, response, &mut position, terminal).await,
                Err(error) => Err(error),
            },
        };
        match read {
            Ok(()) => {}
            Err(error) if may_pass(&error) => terminal.notice(&format!("{error}; trying again")),
            Err(error) => return Err(error),
        }
        pause = if position == before { (pause * 2).min(LAST_PAUSE) } else { FIRST_PAUSE };
        sleep(pause).await;
    }
}

/// Whether the same request may succeed later.
fn may_pass(error: &Error) -> bool {
    match error {
        Error::Unreachable { .. } | Error::BadResponse { .. } | Error::IdleTimeout { .. } => true,
        error => error.api_error().is_some_and(|error| error.retryable),
    }
}

async fn open(
    server: &Server,
    args: &ChangesArgs,
    position: Option<&str>,
) -> Result<Response, Error> {
    let mut request = server.request(Method::GET, &["v1", "changes"])?;
    if let Some(position) = position {
        request = request.query(&[("after", position)]);
    }
    if !args.follow {
        request = request.query(&[("follow", "false")]);
    }
    server.open(request).await
}

/// Prints the events of one stream to its end, and notes the position behind each.
async fn read(
    server: &Server,
    mut response: Response,
    position: &mut Option<String>,
    terminal: &mut Terminal,
) -> Result<(), Error> {
    let mut events = Events::default();
    while let Some(chunk) = server.chunk(&mut response).await? {
        let events = events.push(&chunk);
        let events = events.map_err(|_| server.bad_response("an event is too long"))?;
        for Event { id, data } in events {
            if !data.is_empty() {
                print(server, &data, terminal)?;
            }
            *position = id.or(position.take());
        }
        // Whoever reads the output wants to know now.
        terminal.flush()?;
    }
    Ok(())
}

fn print(server: &Server, data: &str, terminal: &mut Terminal) -> Result<(), Error> {
    let OutputFormat::Human { colour, .. } = terminal.format() else {
        return terminal.print_document(data.as_bytes());
    };
    let paint = Paint { colour };
    let change = serde_json::from_str(data);
    match change.map_err(|error| server.bad_response(format!("an event: {error}")))? {
        Change::Gap { from, to } => terminal.warn(&format!(
            "the changes after {from} up to {to} are no longer kept; read the facts again"
        )),
        Change::Of { kind, id, revision } => {
            let kind = sanitize(&kind);
            let revision = paint.figure(&format!("{revision:>8}"));
            terminal.print_line(&format!("{revision}  {kind:<7}  {}", paint.strong(&id)))?;
        }
    }
    Ok(())
}
