use crate::audit::{By, Event};
use crate::batch::ClaimKind;
use crate::input::{Enrol, RenewCertificate};
use crate::ledger::{Change, Outcome};
use crate::output::{EnrolError, EnrolledGateway, Output};
use crate::pdp::Pdp;
use crate::rows::{Enrolment, EnrolmentKind, Gateway};

impl Pdp {
    /// Brings a gateway in: its token is claimed in the transaction that makes it one.
    pub(crate) fn enrol(&mut self, enrol: Enrol) {
        let request = enrol.request;
        let Some((enrolment, gateway)) = self.check_enrol(&enrol) else {
            let answer = Output::Enrolled(request, Err(EnrolError::BadToken));
            return self.out.push_back(answer);
        };
        let names = EnrolledGateway { gateway: gateway.id.clone(), site: gateway.site.clone() };
        let mut change = Change::default();
        change.claim(ClaimKind::Enrolment, enrolment.hash.to_string(), enrolment.expires);
        change.put(Enrolment { used: Some(self.clock.wall()), ..enrolment });
        let event = Event::GatewayEnrolled { gateway: gateway.id.clone(), site: gateway.site.clone() };
        change.audit.push(self.entry(By::Gateway(gateway.id.clone()), event));
        change.put(Gateway { key: Some(enrol.key), ..gateway });
        self.propose(self.turn.clone(), change, move |pdp, outcome| {
            let answer = match outcome {
                Outcome::Written => Ok(names),
                Outcome::Overtaken => Err(EnrolError::Revoked),
                Outcome::Claimed(_) => Err(EnrolError::BadToken),
                Outcome::StoreDown => Err(EnrolError::StoreDown),
            };
            pdp.out.push_back(Output::Enrolled(request, answer));
        });
    }

    fn check_enrol(&self, enrol: &Enrol) -> Option<(Enrolment, Gateway)> {
        let row = self.usable_enrolment(&enrol.token)?;
        let EnrolmentKind::Gateway { gateway, site } = &row.kind else { return None };
        let gateway = self.rows.gateways.get(gateway)?;
        let fits = gateway.site == *site && gateway.revoked.is_none() && gateway.key.is_none();
        fits.then(|| (row.clone(), gateway.clone()))
    }

    /// A gateway renews with its own key, for as long as nobody has revoked it.
    pub(crate) fn renew_certificate(&mut self, renew: RenewCertificate) {
        let row = self.rows.gateways.get(&renew.gateway).filter(|row| row.revoked.is_none());
        let answer = match row {
            None => Err(EnrolError::Revoked),
            Some(row) if row.key != Some(renew.key) => Err(EnrolError::WrongKey),
            Some(row) => Ok(EnrolledGateway { gateway: row.id.clone(), site: row.site.clone() }),
        };
        self.out.push_back(Output::CertificateRenewed(renew.request, answer));
    }
}
