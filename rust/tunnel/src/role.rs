/// Who starts handshakes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Role {
    /// This end does: a client towards a gateway. Initiations from the other end are refused.
    Initiator,
    /// The other end does: a gateway towards a client. Nothing makes this end start one; without a session it
    /// sends nothing.
    Responder,
}
