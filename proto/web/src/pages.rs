//! Pages in the browsers of people who can reach a server that asks for no credentials.
//!
//! A page has two ways to such a server. It points a name of its own to the server's
//! address (DNS rebinding): then the browser takes the server for the page's own, and only
//! the host of its requests tells. Or it calls across origins: then it can read nothing
//! without CORS, but methods without side effects run. [`Pages`] judges by what browsers do
//! not let a page choose: the host, `Origin` and `Sec-Fetch-Site`.

use crate::host::{Authority, Host, HostPattern};
use http::{HeaderValue, Method, Request, StatusCode, header};
use queuebridge_proto::error::{self, reason};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Status};

/// One line of the log in this time is enough to be noticed.
const PAUSE: Duration = Duration::from_secs(10);
/// What is shown of a host or an origin.
const SHOWN: usize = 100;

/// Which hosts a server answers to, and whose pages may call it. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Pages {
    hosts: Arc<[HostPattern]>,
    origins: Arc<[String]>,
    warned: Arc<Mutex<Option<Instant>>>,
}

/// A request that is not answered. Its texts come from the request, and show every
/// character that is not of printable ASCII escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnedAway {
    /// It is for another host; empty if it names none.
    Host(String),
    /// It is of a page of another origin.
    Origin(String),
    /// It is of a page of another site, and the browser does not say which.
    Site,
}

impl Pages {
    /// Answers to addresses, `localhost`, names below it, and `hosts`. Pages of these hosts
    /// may call, but of addresses only those of this machine and of the request itself, and
    /// those of `origins`, as browsers write them; `*` is all.
    #[must_use]
    pub fn new(hosts: &[HostPattern], origins: &[String]) -> Self {
        Self { hosts: hosts.into(), origins: origins.into(), warned: Arc::default() }
    }

    /// Judges a request by its head. What is turned away is logged, now and then.
    ///
    /// # Errors
    /// Why it is not answered.
    pub fn judge<B>(&self, request: &Request<B>) -> Result<(), TurnedAway> {
        self.verdict(request).inspect_err(|turned_away| self.warn(turned_away))
    }

    fn verdict<B>(&self, request: &Request<B>) -> Result<(), TurnedAway> {
        let hosts = self.hosts_of(request)?;
        let mut origins = request.headers().get_all(header::ORIGIN).iter().peekable();
        let site = request.headers().get("sec-fetch-site").map(HeaderValue::as_bytes);
        let is_site = |named: &[u8]| site.is_some_and(|site| site.eq_ignore_ascii_case(named));
        // Only what is asked for without side effects comes from a page without its origin.
        let is_loaded = request.method() == Method::GET
            && (is_site(b"same-site") || site.is_none() && is_blind(request, &hosts));
        if (is_site(b"cross-site") || is_loaded) && origins.peek().is_none() && !self.all_origins()
        {
            return Err(TurnedAway::Site);
        }
        match origins.find(|origin| !self.is_origin(origin.as_bytes(), &hosts)) {
            Some(origin) => Err(TurnedAway::Origin(shown(origin.as_bytes()))),
            None => Ok(()),
        }
    }

    /// The hosts that the request names, in its target and its header. All of them must be
    /// right: which one decides is another matter for each who reads them. Browsers name one;
    /// a client that names none, as some health checks do, is no page.
    fn hosts_of<B>(&self, request: &Request<B>) -> Result<Vec<Host>, TurnedAway> {
        let target = request.uri().authority().map(|authority| authority.as_str().as_bytes());
        let headers = request.headers().get_all(header::HOST);
        let named = target.into_iter().chain(headers.iter().map(HeaderValue::as_bytes));
        let hosts = named.map(|text| match Authority::parse(text) {
            Some(authority) if self.is_host(&authority) => Ok(authority.host),
            _ => Err(TurnedAway::Host(shown(text))),
        });
        hosts.collect()
    }

    fn is_host(&self, authority: &Authority) -> bool {
        authority.host.is_address() || authority.host.is_local() || self.named(authority)
    }

    fn named(&self, authority: &Authority) -> bool {
        self.hosts.iter().any(|pattern| pattern.fits(authority))
    }

    fn is_origin(&self, origin: &[u8], own: &[Host]) -> bool {
        if self.all_origins() || self.origins.iter().any(|known| known.as_bytes() == origin) {
            return true;
        }
        let Some(host) = host_of_origin(origin) else { return false };
        // Anybody may have an address and a page there.
        host.host.is_local() || own.contains(&host.host) || self.named(&host)
    }

    fn all_origins(&self) -> bool {
        self.origins.iter().any(|origin| origin == "*")
    }

    fn warn(&self, turned_away: &TurnedAway) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if warned.is_none_or(|last| now >= last + PAUSE) {
            *warned = Some(now);
            tracing::warn!(reason = %turned_away, "a request was turned away that a page may have sent");
        }
    }
}

/// Whether a browser may have asked without a word of where the page is from: to plain HTTP
/// beyond this machine it sends no `Sec-Fetch-Site`, and without CORS no `Origin`. What it calls
/// itself the page cannot change then.
fn is_blind<B>(request: &Request<B>, hosts: &[Host]) -> bool {
    let agent = request.headers().get(header::USER_AGENT).map(HeaderValue::as_bytes);
    agent.is_some_and(|agent| agent.starts_with(b"Mozilla/")) && !hosts.iter().all(Host::is_local)
}

/// The host of `scheme://host[:port]`.
fn host_of_origin(origin: &[u8]) -> Option<Authority> {
    let colon = origin.windows(3).position(|three| three == b"://")?;
    Authority::parse(&origin[colon + 3..])
}

fn shown(text: &[u8]) -> String {
    text[..text.len().min(SHOWN)].escape_ascii().to_string()
}

impl TurnedAway {
    /// The status for clients of every protocol.
    #[must_use]
    pub fn status(&self) -> Status {
        let (reason, facts) = match self {
            Self::Host(host) => (reason::HOST_NOT_ALLOWED, ("host", host.clone())),
            Self::Origin(origin) => (reason::ORIGIN_NOT_ALLOWED, ("origin", origin.clone())),
            Self::Site => (reason::ORIGIN_NOT_ALLOWED, ("origin", String::new())),
        };
        error::status_with(Code::PermissionDenied, reason, self.to_string(), [facts])
    }

    /// The status of HTTP.
    #[must_use]
    pub fn http_status(&self) -> StatusCode {
        match self {
            Self::Host(_) => StatusCode::MISDIRECTED_REQUEST,
            Self::Origin(_) | Self::Site => StatusCode::FORBIDDEN,
        }
    }
}

impl fmt::Display for TurnedAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(host) if host.is_empty() => f.write_str("the request names no host"),
            Self::Host(host) => write!(
                f,
                "without authentication this server answers to addresses, localhost and the names \
                 in `hosts` (QB_HOSTS), and not to \"{host}\""
            ),
            Self::Origin(origin) => write!(
                f,
                "without authentication pages of \"{origin}\" may not call: allow them by \
                 `cors.allow_origins` of a gateway"
            ),
            Self::Site => f.write_str(
                "without authentication pages of other sites may not call: allow them by \
                 `cors.allow_origins` of a gateway, and call by `fetch`",
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: (&str, &str) = ("host", "127.0.0.1:50051");

    fn pages(origins: &[&str]) -> Pages {
        let hosts = ["queuebridge", "*.internal"].map(|name| name.parse().unwrap());
        let origins: Vec<String> = origins.iter().map(ToString::to_string).collect();
        Pages::new(&hosts, &origins)
    }

    fn judge(pages: &Pages, target: &str, headers: &[(&str, &str)]) -> Result<(), TurnedAway> {
        let mut request = Request::get(target);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        pages.judge(&request.body(()).unwrap())
    }

    #[test]
    fn requests_for_addresses_local_and_configured_names_are_answered() {
        for host in [
            "127.0.0.1:50051",
            "10.1.2.3",
            "[::1]:50051",
            "[fe80::1%25eth0]:50051",
            "localhost:50051",
            "LocalHost.",
            "probe.localhost",
            "queuebridge:50051",
            "a.internal",
        ] {
            assert_eq!(judge(&pages(&[]), "/a.B/C", &[("host", host)]), Ok(()), "{host}");
        }
        // The authority of HTTP/2 stands in the target.
        assert_eq!(judge(&pages(&[]), "http://[::1]:50051/a.B/C", &[]), Ok(()));
        // Some health checks of HTTP/1.0 name none, and every browser does.
        assert_eq!(judge(&pages(&[]), "/healthz", &[]), Ok(()));
    }

    #[test]
    fn a_name_that_leads_here_is_not_enough() {
        for host in [
            "evil.example",
            "EVIL.example:50051",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "xlocalhost",
            "localhost@evil.example",
            "evil.example@localhost",
            "localhost, evil.example",
            "queuebridge.evil.example",
            "internal",
            // Systems take them for this machine, and browsers do not tell pages that use them.
            "0.0.0.0:50051",
            "[::]:50051",
            "::",
            "[::ffff:0.0.0.0]",
            "",
        ] {
            let turned_away = judge(&pages(&[]), "/a.B/C", &[("host", host)]).unwrap_err();
            assert_eq!(turned_away, TurnedAway::Host(host.to_owned()), "{host}");
            assert_eq!(turned_away.http_status(), StatusCode::MISDIRECTED_REQUEST);
        }
        let evil = Err(TurnedAway::Host("evil.example".to_owned()));
        // Neither the target nor one of several headers hides another.
        assert_eq!(judge(&pages(&[]), "http://evil.example/a.B/C", &[OWN]), evil);
        assert_eq!(judge(&pages(&[]), "http://localhost/", &[("host", "evil.example")]), evil);
        assert_eq!(judge(&pages(&[]), "/a.B/C", &[OWN, ("host", "evil.example")]), evil);
        // CORS is for pages that say who they are.
        assert_eq!(judge(&pages(&["*"]), "/a.B/C", &[("host", "evil.example")]), evil);
    }

    #[test]
    fn pages_of_other_origins_may_call_where_they_are_named() {
        let own = ["http://127.0.0.1:50051", "http://localhost:3000", "https://[::1]"];
        for origin in own.into_iter().chain(["http://a.localhost", "http://queuebridge:50051"]) {
            assert_eq!(judge(&pages(&[]), "/", &[OWN, ("origin", origin)]), Ok(()), "{origin}");
        }
        for origin in [
            "https://shop.example",
            "null",
            "",
            "http://203.0.113.7",
            "http://localhost.evil.example",
            "http://localhost@evil.example",
            "http://evil.example/http://localhost",
            "localhost",
        ] {
            let refused = Err(TurnedAway::Origin(origin.to_owned()));
            assert_eq!(judge(&pages(&[]), "/", &[OWN, ("origin", origin)]), refused, "{origin}");
            assert_eq!(judge(&pages(&["*"]), "/", &[OWN, ("origin", origin)]), Ok(()), "{origin}");
        }
        let listed = pages(&["https://shop.example"]);
        assert_eq!(judge(&listed, "/", &[OWN, ("origin", "https://shop.example")]), Ok(()));
        for other in ["http://shop.example", "https://shop.example:8443", "https://a.shop.example"]
        {
            let status = judge(&listed, "/", &[OWN, ("origin", other)]).unwrap_err().http_status();
            assert_eq!(status, StatusCode::FORBIDDEN, "{other}");
        }
        let both = [OWN, ("origin", "https://shop.example"), ("origin", "https://evil.example")];
        assert!(judge(&listed, "/", &both).is_err());
        // A page at the address that it calls.
        let lan = [("host", "10.0.0.9:50051"), ("origin", "http://10.0.0.9:50051")];
        assert_eq!(judge(&pages(&[]), "/", &lan), Ok(()));
    }

    #[test]
    fn what_another_site_makes_a_browser_load_is_no_call() {
        let cross = ("sec-fetch-site", "cross-site");
        let judge = |origins: &[&str], more: &[(&str, &str)]| {
            judge(&pages(origins), "/a.B/C?encoding=json", &[&[OWN], more].concat())
        };
        assert_eq!(judge(&[], &[cross]), Err(TurnedAway::Site));
        assert_eq!(judge(&[], &[("sec-fetch-site", "Cross-Site")]), Err(TurnedAway::Site));
        assert_eq!(judge(&["https://shop.example"], &[cross]), Err(TurnedAway::Site));
        let page = ("origin", "https://shop.example");
        assert_eq!(judge(&["https://shop.example"], &[cross, page]), Ok(()));
        assert_eq!(judge(&[], &[cross, ("origin", "http://localhost:3000")]), Ok(()));
        assert_eq!(judge(&["*"], &[cross]), Ok(()));
        for site in ["none", "same-origin"] {
            assert_eq!(judge(&[], &[("sec-fetch-site", site)]), Ok(()), "{site}");
        }
        // Of another port of this machine, or another name below the same domain.
        let same = ("sec-fetch-site", "same-site");
        assert_eq!(judge(&[], &[same]), Err(TurnedAway::Site));
        assert_eq!(judge(&[], &[same, ("origin", "http://localhost:3000")]), Ok(()));
        assert_eq!(judge(&["*"], &[same]), Ok(()));
    }

    #[test]
    fn a_browser_that_does_not_say_where_a_page_is_from_loads_nothing() {
        let browser = ("user-agent", "Mozilla/5.0 (X11; Linux x86_64)");
        let (lan, name) = (("host", "10.0.0.9:50051"), ("host", "queuebridge"));
        let get = |headers: &[(&str, &str)]| judge(&pages(&[]), "/a.B/C", headers);
        for host in [lan, name] {
            assert_eq!(get(&[host, browser]), Err(TurnedAway::Site));
            assert_eq!(get(&[host, ("user-agent", "curl/8.0")]), Ok(()));
            assert_eq!(get(&[host]), Ok(()));
        }
        assert_eq!(get(&[OWN, browser]), Ok(()), "to this machine they say it");
        assert_eq!(get(&[lan, browser, ("sec-fetch-site", "none")]), Ok(()));
        assert_eq!(get(&[lan, browser, ("origin", "http://10.0.0.9:50051")]), Ok(()));
        let post = Request::post("/a.B/C").header(lan.0, lan.1).header(browser.0, browser.1);
        assert_eq!(
            pages(&[]).judge(&post.body(()).unwrap()),
            Ok(()),
            "with an origin, if a page's"
        );
    }

    #[test]
    fn a_refusal_shows_what_was_sent_safely_and_says_what_to_do() {
        let request = Request::get("/").header("host", &b"a\xff\"\x1b[31m"[..]);
        // Escapes cannot stand in a header; other bytes can.
        assert!(request.body(()).is_err());
        let request = Request::get("/").header("host", &b"a\xff\xe2\x80\xae\"b"[..]);
        let turned_away = pages(&[]).judge(&request.body(()).unwrap()).unwrap_err();
        assert_eq!(turned_away, TurnedAway::Host("a\\xff\\xe2\\x80\\xae\\\"b".to_owned()));
        let status = turned_away.status();
        assert_eq!(status.code(), Code::PermissionDenied);
        assert!(status.message().contains("QB_HOSTS") && status.message().is_ascii());
        let long = Request::get("/").header("host", "x".repeat(10_000)).body(()).unwrap();
        assert_eq!(pages(&[]).judge(&long), Err(TurnedAway::Host("x".repeat(SHOWN))));
    }
}
