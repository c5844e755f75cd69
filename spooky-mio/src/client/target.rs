//! An `https` URL, taken apart.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

use http::Uri;

use super::Error;

const HTTPS_PORT: u16 = 443;

/// What an `https` URL names: a server, and something on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// A DNS name, or an IP address without brackets.
    pub host: String,
    /// The UDP port.
    pub port: u16,
    /// What goes into `:authority`, as it was written.
    pub authority: String,
    /// Path and query; at least `/`.
    pub path: String,
}

impl Target {
    /// The host as an address, if it is one: then there is no name to verify or
    /// to send as SNI.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The addresses it can be reached at.
    pub fn resolve(&self) -> Result<Vec<SocketAddr>, Error> {
        let found = (self.host.as_str(), self.port)
            .to_socket_addrs()
            .map(Iterator::collect::<Vec<_>>)
            .map_err(|error| Error::Resolve(self.host.clone(), error.to_string()))?;
        if found.is_empty() {
            return Err(Error::Resolve(self.host.clone(), "no address".to_owned()));
        }
        Ok(found)
    }
}

impl FromStr for Target {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad = |why: &str| Error::BadUrl(text.to_owned(), why.to_owned());
        if !text.contains("://") {
            return Err(bad("a URL begins with https://"));
        }
        let uri: Uri = text.parse().map_err(|error| bad(&format!("{error}")))?;
        match uri.scheme_str() {
            Some("https") => {}
            Some("http") => return Err(bad("HTTP/3 is always encrypted: write https://")),
            Some(other) => return Err(bad(&format!("{other}:// is not https://"))),
            None => return Err(bad("a URL begins with https://")),
        }
        let authority = uri.authority().ok_or_else(|| bad("it names no host"))?;
        if authority.as_str().contains('@') {
            return Err(bad(
                "user names in URLs are not sent; use -H 'authorization: …'",
            ));
        }
        let host = authority
            .host()
            .trim_start_matches('[')
            .trim_end_matches(']');
        if host.is_empty() {
            return Err(bad("it names no host"));
        }
        // RFC 3986 section 3.2.2; zones and literals to come are not for us.
        if authority.host().contains(['[', ']']) && host.parse::<Ipv6Addr>().is_err() {
            return Err(bad("what stands in brackets is no IPv6 address"));
        }
        let port = match authority.port() {
            Some(port) => port.as_u16(),
            // `Uri` drops a port that is no number of a port.
            None if authority.as_str() != authority.host() => {
                return Err(bad("its port is not a number up to 65535"));
            }
            None => HTTPS_PORT,
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        // RFC 9114 section 4.3.1: URIs "that do not contain a path component MUST
        // include a value of /"; one may have a query all the same.
        let root = if path.starts_with('/') { "" } else { "/" };
        Ok(Self {
            host: host.to_owned(),
            port,
            authority: authority.as_str().to_owned(),
            path: format!("{root}{path}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let target: Target = "https://example.com:8443/a/b?c=d".parse().unwrap();
        assert_eq!(target.host, "example.com");
        assert_eq!(target.port, 8443);
        assert_eq!(target.authority, "example.com:8443");
        assert_eq!(target.path, "/a/b?c=d");
        assert_eq!(target.ip(), None);
    }

    #[test]
    fn the_port_and_the_path_may_be_missing() {
        let target: Target = "https://[::1]".parse().unwrap();
        assert_eq!((target.port, target.path.as_str()), (443, "/"));
        assert_eq!(target.ip(), Some("::1".parse().unwrap()));
        assert_eq!(target.authority, "[::1]");
    }

    #[test]
    fn a_query_without_a_path_is_asked_of_the_root() {
        let target: Target = "https://example.com?c=d".parse().unwrap();
        assert_eq!(target.path, "/?c=d");
    }

    #[test]
    fn what_is_no_https_url_is_refused_with_the_reason() {
        for (text, reason) in [
            ("http://a/", "always encrypted"),
            ("ftp://a/", "not https"),
            ("a/b", "begins with https://"),
            ("https://u:p@a/", "authorization"),
            ("https://a:99999/", "65535"),
            ("https://[::1O]/", "no IPv6 address"),
            ("https://a[b]/", "no IPv6 address"),
        ] {
            let error = text.parse::<Target>().unwrap_err().to_string();
            assert!(error.contains(text) && error.contains(reason), "{error}");
        }
    }
}
