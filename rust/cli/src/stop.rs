use crate::exit::Exit;
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

/// Ends this process when its standard input ends, that is, when whoever holds the other end of the pipe has.
pub(crate) fn end_with_standard_input() {
    std::thread::spawn(|| {
        // What is written there is not meant for us.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(Exit::Interrupted as i32);
    });
}
