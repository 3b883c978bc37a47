use std::io::{self, IsTerminal as _, Write as _};
use std::pin::pin;
use std::time::Duration;

use ztna_model::secs;

/// Waits for `work`. Once that has taken a second, whoever sits at a terminal reads what is awaited.
pub(crate) async fn awaited<T>(what: &str, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    tokio::select! {
        done = &mut work => return done,
        () = tokio::time::sleep(PATIENCE) => {}
    }
    let shows = io::stderr().is_terminal();
    if shows {
        eprint!("… {what}");
        let _ = io::stderr().flush(); // a terminal that is gone shows nothing
    }
    let done = work.await;
    if shows {
        eprint!("\r\x1b[2K");
    }
    done
}

const PATIENCE: Duration = secs(1);
