use std::net::SocketAddr;
use std::time::Duration;

use ztna_model::{DomainName, Host, Port, secs};
use ztna_net::tcp::{self, DialError};

/// Who says what a name stands for.
pub(crate) enum Resolver {
    /// The machine's own resolver.
    System,
    /// Resolvers of a test's own, for questions; nobody is dialled by name.
    #[cfg(test)]
    Servers(Vec<SocketAddr>),
    /// A list, for tests: each question takes its next answer, and the last one stays.
    #[cfg(test)]
    Listed(std::sync::Mutex<Vec<(DomainName, Vec<std::net::IpAddr>)>>),
}

impl Resolver {
    /// The addresses of `name`, in the order to try them.
    pub(crate) async fn resolve(&self, name: &DomainName, port: Port) -> Result<Vec<SocketAddr>, DialError> {
        match self {
            Self::System => tcp::resolve(&Host::Name(name.clone()), port, WITHIN).await,
            #[cfg(test)]
            Self::Servers(_) => Ok(Vec::new()),
            #[cfg(test)]
            Self::Listed(answers) => {
                let mut answers = answers.lock().unwrap();
                let mine = |(listed, _): &(DomainName, Vec<std::net::IpAddr>)| listed == name;
                let Some(first) = answers.iter().position(mine) else { return Ok(Vec::new()) };
                let more = answers.iter().skip(first + 1).any(mine);
                let found = if more { answers.remove(first).1 } else { answers[first].1.clone() };
                Ok(found.into_iter().map(|address| SocketAddr::new(address, port.number())).collect())
            }
        }
    }

    /// Whom to ask instead of the machine's own resolvers.
    pub(crate) fn servers(&self) -> Option<Vec<SocketAddr>> {
        match self {
            Self::System => None,
            #[cfg(test)]
            Self::Servers(servers) => Some(servers.clone()),
            #[cfg(test)]
            Self::Listed(_) => Some(Vec::new()),
        }
    }
}

const WITHIN: Duration = secs(5);
