use std::path::PathBuf;

use ztna_model::{GatewayId, OrgId, OrgString, RootHash, Secret};

use crate::certificate::Enrolment;
use crate::config::Config;
use crate::home::Home;
use crate::run::RunError;

/// Where this gateway's leases come from, and who it is there.
pub(crate) enum Role {
    Enrolled { enrolment: Enrolment, key: Secret<Vec<u8>> },
    File { path: PathBuf, org: OrgId, root: RootHash, gateway: GatewayId },
}

impl Role {
    pub(crate) fn find(config: &Config, home: &Home) -> Result<Self, RunError> {
        if let (Some(path), Some(gateway), Some(OrgString { org, root: Some(root) })) =
            (&config.leases.file, &config.leases.gateway, &config.org)
        {
            let (path, org, gateway) = (path.clone(), org.clone(), gateway.clone());
            return Ok(Self::File { path, org, root: *root, gateway });
        }
        let (enrolment, key) = home.load()?;
        let enrolled = OrgString { org: enrolment.org.clone(), root: Some(enrolment.root) };
        match &config.org {
            Some(said) if said.org != enrolled.org || (said.root.is_some() && said.root != enrolled.root) => {
                Err(RunError::OtherOrganisation {
                    configured: said.to_string(),
                    enrolled: enrolled.to_string(),
                })
            }
            Some(_) | None => Ok(Self::Enrolled { enrolment, key }),
        }
    }

    pub(crate) fn who(&self) -> (&OrgId, &RootHash, &GatewayId) {
        match self {
            Self::Enrolled { enrolment, .. } => (&enrolment.org, &enrolment.root, &enrolment.gateway),
            Self::File { org, root, gateway, .. } => (org, root, gateway),
        }
    }
}
