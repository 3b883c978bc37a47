use std::sync::Arc;

use ztna_api::discovery::{Discovery, Versions};
use ztna_api::gateway::Enrolled;
use ztna_model::{OrgId, Target, base64url};
use ztna_net::clock::Clock;
use ztna_net::random::SystemRandom;
use ztna_net::tls::GatewayName;
use ztna_pdp::{EnrolledGateway, Nonces};

use super::limits::Sources;
use super::stream::Present;
use crate::desk::Handle;
use crate::id_tokens::IdTokens;
use crate::keys::{CertifyError, GatewayRequest, KeyRing};
use crate::store::Store;

/// What all handlers share.
pub(crate) struct Front {
    pub(crate) org: OrgId,
    pub(crate) desk: Handle,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) keys: KeyRing,
    pub(crate) nonces: Nonces,
    pub(crate) id_tokens: IdTokens,
    /// What devices are told of the provider.
    pub(crate) issuer: String,
    pub(crate) client_id: String,
    pub(crate) scopes: Vec<String>,
    /// How gateways reach their listener.
    pub(crate) gateways_name: Target,
    pub(crate) sources: Arc<Sources>,
    pub(crate) present: Present,
    pub(crate) clock: Clock,
}

impl Front {
    pub(crate) fn discovery(&self) -> Discovery {
        Discovery {
            org: self.org.clone(),
            title: self.desk.title(),
            issuer: self.issuer.clone(),
            client_id: self.client_id.clone(),
            scopes: self.scopes.clone(),
            keys: self.keys.signed_set().to_owned(),
            versions: Versions::OURS,
            time: self.clock.wall(),
        }
    }

    /// The address that a proof for `path` must name: never what a request says of itself.
    pub(crate) fn uri(&self, path: &str) -> String {
        format!("{}{path}", self.org)
    }

    /// Certifies a gateway that may be one.
    pub(crate) fn certify(
        &self,
        names: EnrolledGateway,
        request: &GatewayRequest,
    ) -> Result<Enrolled, CertifyError> {
        let EnrolledGateway { gateway, site } = names;
        let name = GatewayName { org: self.org.clone(), gateway: gateway.clone() };
        let now = self.clock.wall();
        let leaf = self.keys.gateway_ca().gateway(&name, request, now, &mut SystemRandom::new())?;
        Ok(Enrolled {
            org: self.org.clone(),
            gateway,
            site,
            chain: vec![base64url::encode(leaf)],
            keys: self.keys.signed_set().to_owned(),
            listener: self.gateways_name.to_string(),
        })
    }
}
