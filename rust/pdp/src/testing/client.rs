#![expect(clippy::wildcard_enum_match_arm, reason = "a test picks the one it means")]

use std::time::Duration;

use ztna_api::device::{self, FromDevice, Hello, ToDevice, Wanted};
use ztna_api::discovery::Versions;
use ztna_api::dpop::Proof;
use ztna_api::key;
use ztna_api::statement::{self, Body, Statement};
use ztna_api::token::{TokenError, TokenResponse, id_nonce};
use ztna_model::{Decision, DeviceId, FactKind, Jkt, LinkId, SessionId, Signer, Synthetic, WgPublic};
use ztna_net::keys::P256Key;

use super::{Bench, Gate, ISSUER, carrier, org, p256, reading};
use crate::{DeviceOpened, Exchange, IdToken, Input, Output, Refresh, RequestId, SignOut, StreamId};

/// A device with its key, as a client that follows the protocol.
pub(crate) struct Device {
    pub(crate) key: P256Key,
    pub(crate) tokens: TokenResponse,
    pub(crate) stream: StreamId,
    pub(crate) nonces: Vec<String>,
    pub(crate) link: Option<LinkId>,
    /// The tunnel key of its process.
    pub(crate) tunnel: WgPublic,
}

impl Bench {
    /// A proof that the driver has verified.
    pub(crate) fn proof(&mut self, signer: &P256Key) -> Proof {
        let nonce = self.pdp.nonce(self.now).nonce;
        let jti = format!("{:016}", self.number());
        let key = signer.public_key();
        Proof { key, jkt: key::thumbprint(&key), jti, nonce: Some(nonce) }
    }

    /// The ID token of somebody who has just signed in, committed to this key.
    pub(crate) fn id_token(&mut self, subject: &str, jkt: &Jkt, salt: &str) -> IdToken {
        IdToken {
            hash: key::sha256(&self.number().to_be_bytes()),
            issuer: ISSUER.into(),
            subject: subject.into(),
            audiences: vec!["openztna".into()],
            authorized_party: None,
            expires: self.now.wall + Duration::from_secs(300),
            issued: self.now.wall,
            nonce: Some(id_nonce(&org(), jkt, salt)),
            idp_sid: None,
            acr: None,
            amr: vec!["pwd".into()],
            auth_time: Some(self.now.wall),
            email: None,
            email_verified: false,
            name: None,
            groups: Vec::new(),
        }
    }

    pub(crate) fn exchange(&mut self, subject: &str, signer: &P256Key) -> Exchange {
        let salt = self.pdp.nonce(self.now).nonce;
        let proof = self.proof(signer);
        let id_token = self.id_token(subject, &proof.jkt, &salt);
        let request = RequestId(self.number());
        Exchange { request, proof, id_token, salt, device_name: "a laptop".into(), enrolment: None }
    }

    pub(crate) fn sign_in(&mut self, subject: &str, signer: &P256Key) -> Result<TokenResponse, TokenError> {
        let exchange = self.exchange(subject, signer);
        self.try_exchange(exchange)
    }

    pub(crate) fn try_exchange(&mut self, exchange: Exchange) -> Result<TokenResponse, TokenError> {
        let request = exchange.request;
        self.handle(Input::Exchange(Box::new(exchange)));
        self.tokens(request)
    }

    pub(crate) fn tokens(&mut self, wanted: RequestId) -> Result<TokenResponse, TokenError> {
        self.find(|output| match output {
            Output::Tokens(request, answer) if *request == wanted => Some(answer.clone()),
            _ => None,
        })
        .expect("an answer")
    }

    pub(crate) fn refresh(&mut self, token: &str, signer: &P256Key) -> Result<TokenResponse, TokenError> {
        let (request, proof) = (RequestId(self.number()), self.proof(signer));
        self.handle(Input::Refresh(Refresh { request, proof, token: token.to_owned().into() }));
        self.tokens(request)
    }

    pub(crate) fn sign_out(&mut self, token: &str, signer: &P256Key) -> Result<(), TokenError> {
        let (request, proof) = (RequestId(self.number()), self.proof(signer));
        self.handle(Input::SignOut(SignOut { request, proof, token: token.to_owned().into() }));
        self.find(|output| match output {
            Output::SignedOut(answered, answer) if *answered == request => Some(answer.clone()),
            _ => None,
        })
        .expect("an answer")
    }

    /// A signed-in device without a stream.
    pub(crate) fn device(&mut self, subject: &str) -> Device {
        let key = p256();
        let tokens = self.sign_in(subject, &key).unwrap();
        let tunnel = self.tunnel_key();
        Device { key, tokens, stream: StreamId(0), nonces: Vec::new(), link: None, tunnel }
    }

    /// What a process makes when it starts.
    pub(crate) fn tunnel_key(&mut self) -> WgPublic {
        WgPublic(key::sha256(&self.number().to_be_bytes()))
    }

    /// A device that is signed in, connected, present, and has stated its tunnel key.
    pub(crate) fn ready(&mut self, subject: &str) -> Device {
        let mut device = self.device(subject);
        self.connect(&mut device);
        self.make_ready(&mut device);
        device
    }

    pub(crate) fn make_ready(&mut self, device: &mut Device) {
        self.state(device, Body::Presence {});
        let wg_pub = device.tunnel;
        self.state(device, Body::TunnelKey { wg_pub });
    }

    pub(crate) fn open(&mut self, device: &Device) -> Result<StreamId, TokenError> {
        let (stream, proof) = (StreamId(self.number()), self.proof(&device.key));
        let token = device.tokens.access_token.clone().into();
        let address = "192.0.2.7".parse().unwrap();
        self.handle(Input::DeviceOpened(DeviceOpened { stream, proof, token, address }));
        self.find(|output| match output {
            Output::Stream(answered, answer) if *answered == stream => Some(answer.clone()),
            _ => None,
        })
        .expect("an answer")
        .map(|()| stream)
    }

    /// Opens a stream and says hello, as the session's next.
    pub(crate) fn connect(&mut self, device: &mut Device) {
        let stream = self.open(device).unwrap();
        let next = LinkId(key::sha256(&self.number().to_be_bytes())[..16].try_into().unwrap());
        let prev = device.link.replace(next);
        device.stream = stream;
        self.hello(stream, prev, next);
        self.read_nonces(device);
    }

    pub(crate) fn hello(&mut self, stream: StreamId, prev: Option<LinkId>, next: LinkId) {
        let hello = Hello {
            org: org(),
            versions: Versions::OURS,
            prev,
            next,
            software: "test".into(),
            platform: "linux".into(),
        };
        self.say(stream, hello);
    }

    pub(crate) fn say(&mut self, stream: StreamId, frame: impl Into<FromDevice>) {
        self.handle(Input::FromDevice(stream, frame.into()));
    }

    pub(crate) fn read_nonces(&mut self, device: &mut Device) {
        for frame in self.peek(device.stream) {
            match frame {
                ToDevice::Welcome(welcome) => device.nonces = welcome.nonces,
                ToDevice::Nonces(nonces) => device.nonces = nonces.nonces,
                _ => {}
            }
        }
    }

    fn nonce(&mut self, device: &mut Device) -> String {
        if device.nonces.is_empty() {
            self.say(device.stream, device::NeedNonces { count: 8 });
            device.nonces = self
                .find(|output| match output {
                    Output::ToDevice(stream, ToDevice::Nonces(nonces)) if *stream == device.stream => {
                        Some(nonces.nonces.clone())
                    }
                    _ => None,
                })
                .expect("nonces");
        }
        device.nonces.pop().unwrap()
    }

    pub(crate) fn statement(&mut self, device: &mut Device, body: Body) -> String {
        let nonce = self.nonce(device);
        let statement = Statement { org: org(), sid: device.tokens.sid, nonce, body };
        statement::sign(&device.key, &statement).unwrap()
    }

    pub(crate) fn state(&mut self, device: &mut Device, body: Body) {
        let statement = self.statement(device, body);
        self.say(device.stream, device::Stated { statement });
    }

    /// Tells of a device on which everything is in order but what is named.
    pub(crate) fn facts(&mut self, device: &mut Device, bad: &[FactKind]) {
        let readings = FactKind::ALL.iter().map(|kind| reading(*kind, !bad.contains(kind))).collect();
        self.state(device, Body::Facts { readings });
    }

    /// Frames to a stream, taken from what is there.
    pub(crate) fn frames(&mut self, stream: StreamId) -> Vec<ToDevice> {
        let mut frames = Vec::new();
        while let Some(frame) = self.find(|output| match output {
            Output::ToDevice(to, frame) if *to == stream => Some(frame.clone()),
            _ => None,
        }) {
            frames.push(frame);
        }
        frames
    }

    pub(crate) fn peek(&self, stream: StreamId) -> Vec<ToDevice> {
        let frames = self.outputs.iter().filter_map(|output| match output {
            Output::ToDevice(to, frame) if *to == stream => Some(frame.clone()),
            _ => None,
        });
        frames.collect()
    }

    pub(crate) fn is_closed(&self, stream: StreamId) -> bool {
        self.outputs.contains(&Output::Close(stream))
    }

    /// Asks for a name on port 80, and takes the answer that is there.
    pub(crate) fn ask(&mut self, device: &Device, name: &str) -> Option<ToDevice> {
        let request = self.number();
        let index = name.bytes().fold(7_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        self.ask_as(device, request, name, Synthetic::from_index(index));
        self.answer(device.stream, request)
    }

    pub(crate) fn ask_as(&mut self, device: &Device, request: u64, name: &str, synthetic: Synthetic) {
        let ask = device::Ask {
            request,
            wanted: Wanted::Name { name: name.parse().unwrap(), synthetic },
            protocol: ztna_model::Protocol::Tcp,
            port: ztna_model::Port::new(80).unwrap(),
            carriers: vec![carrier()],
            avoid: None,
        };
        self.say(device.stream, ask);
    }

    pub(crate) fn answer(&mut self, stream: StreamId, request: u64) -> Option<ToDevice> {
        self.find(|output| match output {
            Output::ToDevice(to, frame) if *to == stream => match frame {
                ToDevice::Granted(granted) if granted.request == Some(request) => Some(frame.clone()),
                ToDevice::Refused(refused) if refused.request == request => Some(frame.clone()),
                _ => None,
            },
            _ => None,
        })
    }

    /// Asks, lets the gateway answer, and expects a grant.
    pub(crate) fn granted(&mut self, device: &Device, gate: &mut Gate, name: &str) -> ztna_model::Grant {
        let request = self.number();
        let index = name.bytes().fold(7_u16, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte.into()));
        self.ask_as(device, request, name, Synthetic::from_index(index));
        self.gate_answers(gate);
        match self.answer(device.stream, request) {
            Some(ToDevice::Granted(granted)) => granted.grant,
            other => panic!("{name}: {other:?}"),
        }
    }

    pub(crate) fn session(&self, sid: &SessionId) -> &crate::rows::Session {
        &self.pdp.rows().sessions[sid]
    }

    pub(crate) fn device_row(&self, device: &DeviceId) -> &crate::rows::Device {
        &self.pdp.rows().devices[device]
    }

    /// Asks for a name and expects a refusal.
    pub(crate) fn refused(&mut self, device: &Device, name: &str) -> Decision {
        match self.ask(device, name) {
            Some(ToDevice::Refused(refused)) => refused.decision,
            other => panic!("{name}: {other:?}"),
        }
    }

    /// Why leases of the device ended, as it was told.
    pub(crate) fn over(&mut self, device: &Device) -> Vec<ztna_model::DenyReason> {
        let frames = self.frames(device.stream).into_iter();
        let over = frames.filter_map(|frame| match frame {
            ToDevice::Over(over) => Some(over.reason),
            _ => None,
        });
        over.collect()
    }
}
