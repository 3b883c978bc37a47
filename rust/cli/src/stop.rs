use tokio::signal::unix::{SignalKind, signal};

/// Waits until somebody presses Ctrl-C or a service manager says that it is enough.
pub(crate) async fn asked_to_stop() {
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        // Ctrl-C still works.
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
