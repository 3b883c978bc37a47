//! Administrators on this machine: JSON lines over a Unix socket, each a question and each with one answer.
//!
//! What decisions rest on is asked of the desk ([`ztna_api::admin::Op`]); accounts of the own provider, the audit log,
//! keys and back-ups are this broker's own matter ([`LocalOp`]). Both come in the same form over the same socket.

use std::sync::Arc;

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use ztna_api::admin::{AdminError, Answer, LONGEST, Op, Outcome, Reply, Request};
use ztna_api::wire;
use ztna_net::uds::{Caller, LocalListener};

use crate::desk::{Handle, Overloaded};
use crate::server::stopped;

mod local; // what is asked of this broker itself
pub use local::{
    AccountShown, KeyShown, KeysShown, LocalAnswer, LocalOp, LocalOutcome, LocalReply, LocalRequest,
};

mod accounts; // accounts of the own provider
mod log; // the audit log
mod office; // who does it
pub(crate) use office::Office;

mod client; // how to ask
pub use client::{CallError, Client};

/// Answers administrators until `stop` says so.
pub(crate) async fn serve(listener: LocalListener, office: Arc<Office>, mut stop: watch::Receiver<bool>) {
    let places = Arc::new(Semaphore::new(MOST_CALLERS));
    let mut callers = JoinSet::new();
    loop {
        tokio::select! {
            () = stopped(&mut stop) => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, caller)) => {
                    let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
                    let office = Arc::clone(&office);
                    callers.spawn(async move {
                        converse(stream, caller, &office).await;
                        drop(place);
                    });
                }
                Err(cause) => {
                    tracing::warn!(%cause, "the administrators' socket does not answer");
                    tokio::time::sleep(BREATH).await;
                }
            },
            Some(_) = callers.join_next() => {}
        }
    }
}

async fn converse(stream: UnixStream, caller: Caller, office: &Office) {
    if caller.uid != office.uid && caller.uid != ROOT {
        return tracing::warn!(uid = caller.uid, "somebody else called on the administrators' socket");
    }
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    let mut line = vec![];
    loop {
        line.clear();
        let longest = u64::try_from(LONGEST + 1).unwrap_or(u64::MAX);
        match (&mut reader).take(longest).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
        let too_long = line.len() > LONGEST;
        let mut reply = answer(&line, caller.uid, office).await;
        reply.push('\n');
        if writer.write_all(reply.as_bytes()).await.is_err() || too_long {
            return; // what follows a line that is too long is the rest of it
        }
    }
}

async fn answer(line: &[u8], uid: u32, office: &Office) -> String {
    let refuse = |id, message: String| {
        let outcome = Outcome::Error(AdminError::NotUnderstood { message });
        wire::write(&Reply { id, outcome })
    };
    let asked: Value = match wire::read(line, LONGEST) {
        Ok(asked) => asked,
        Err(error) => return refuse(0, error.to_string()),
    };
    let id = asked.get("id").and_then(Value::as_u64).unwrap_or(0);
    let op = asked.get("op").and_then(Value::as_str).unwrap_or_default();
    if LocalOp::NAMES.contains(&op) {
        return match serde_json::from_value::<LocalRequest>(asked) {
            Ok(request) => {
                let outcome = match office.local(uid, request.op).await {
                    Ok(answer) => LocalOutcome::Ok(answer),
                    Err(error) => LocalOutcome::Error(error),
                };
                wire::write(&LocalReply { id, outcome })
            }
            Err(error) => refuse(id, error.to_string()),
        };
    }
    match serde_json::from_value::<Request>(asked) {
        Ok(request) => {
            let outcome = match office.decided(uid, request.op).await {
                Ok(answer) => Outcome::Ok(answer),
                Err(error) => Outcome::Error(error),
            };
            wire::write(&Reply { id, outcome })
        }
        Err(error) => refuse(id, error.to_string()),
    }
}

/// Asks the desk; a desk that stops is a store that takes nothing.
pub(crate) async fn ask(desk: &Handle, uid: u32, op: Op) -> Result<Answer, AdminError> {
    desk.admin(uid, op).await.unwrap_or_else(|Overloaded| Err(AdminError::StoreDown))
}

const ROOT: u32 = 0;
const MOST_CALLERS: usize = 32;
const BREATH: std::time::Duration = ztna_model::millis(100);
