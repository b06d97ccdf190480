//! What systemd, or another service manager that sets NOTIFY_SOCKET, is told of this process: that
//! it is ready, alive, about to stop. Without that variable nothing is said.

use std::time::Duration;

use sd_notify::{NotifyState, notify, watchdog_enabled};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{MissedTickBehavior, interval};

/// So often within its time-out is the watchdog told that this process lives.
const SIGNS_OF_LIFE: u32 = 3;

/// The service has started: its dependants may.
pub async fn ready(address: String) {
    tell(move || notify(&[NotifyState::Ready, NotifyState::Status(&format!("serves {address}"))]))
        .await;
}

/// The service is about to end: calls in progress are answered.
pub async fn stopping() {
    tell(|| notify(&[NotifyState::Stopping, NotifyState::Status("answers the last calls")])).await;
}

/// Signs of life for the watchdog, if there is one, until aborted. They come from the runtime that
/// serves requests, and stop when it does nothing more.
pub fn keep_watchdog() -> JoinHandle<()> {
    tokio::spawn(async {
        let Some(patience) = watchdog_enabled().filter(|patience| *patience > Duration::ZERO)
        else {
            return;
        };
        let mut ticks = interval(patience / SIGNS_OF_LIFE);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            tell(|| notify(&[NotifyState::Watchdog])).await;
        }
    })
}

/// On a thread that may wait: a service manager that reads nothing must not stop the runtime.
async fn tell(what: impl FnOnce() -> std::io::Result<()> + Send + 'static) {
    if let Ok(Err(error)) = spawn_blocking(what).await {
        tracing::warn!(%error, "cannot tell the service manager (NOTIFY_SOCKET)");
    }
}
