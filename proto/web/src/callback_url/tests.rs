use super::*;
use proptest::prelude::*;

fn normal(text: &str) -> String {
    CallbackUrl::parse(text).unwrap_or_else(|error| panic!("{text}: {error}")).to_string()
}

fn matched(pattern: &str, url: &str) -> Matched {
    let pattern: UrlPattern = pattern.parse().unwrap_or_else(|e| panic!("{pattern}: {e}"));
    let url = CallbackUrl::parse(url).unwrap_or_else(|error| panic!("{url}: {error}"));
    pattern.matches(&url)
}

/// Whether a URL is among those of a pattern, whatever is the reason if it is not.
fn allowed(pattern: &str, url: &str) -> bool {
    let pattern: UrlPattern = pattern.parse().unwrap();
    CallbackUrl::parse(url).is_ok_and(|url| pattern.matches(&url) == Matched::Yes)
}

#[test]
fn equal_urls_have_one_form() {
    for (text, expected) in [
        ("https://a.example", "https://a.example/"),
        ("https://a.example?x=y", "https://a.example/?x=y"),
        ("HTTPS://A.Example/X", "https://a.example/X"),
        ("https://a.example:443/x", "https://a.example/x"),
        ("http://a.example:80", "http://a.example/"),
        ("https://a.example:80/x", "https://a.example:80/x"),
        ("https://[2001:DB8::1]:8443/x", "https://[2001:db8::1]:8443/x"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/"),
        ("https://a.example/x%20y/%7Ez?a=%2e%2e", "https://a.example/x%20y/%7Ez?a=%2e%2e"),
        ("http://192.0.2.7:65535/", "http://192.0.2.7:65535/"),
    ] {
        assert_eq!(normal(text), expected);
        assert_eq!(CallbackUrl::parse(text).unwrap().uri().to_string(), expected);
    }
}

#[test]
fn what_means_another_url_is_refused_with_its_normal_form() {
    for (text, form) in [
        ("https://a.example/hooks/../admin", "https://a.example/admin"),
        ("https://a.example/hooks/.%2e/admin", "https://a.example/admin"),
        ("https://a.example/hooks/%2E%2e/admin", "https://a.example/admin"),
        ("https://a.example/hooks/%2e/x", "https://a.example/hooks/x"),
        ("https://a.example/hooks/..\\admin", "https://a.example/admin"),
        ("https://a.example\\@b.example/", "https://a.example/@b.example/"),
        ("https://a%2eexample/", "https://a.example/"),
        ("https://0x7f.1/", "https://127.0.0.1/"),
        ("https://2130706433/", "https://127.0.0.1/"),
        ("https://0177.0.0.1/", "https://127.0.0.1/"),
        ("https://[::ffff:127.0.0.1]:1/", "https://[::ffff:7f00:1]:1/"),
        ("https://[2001:db8:0::1]/", "https://[2001:db8::1]/"),
        ("https://a.example:0443/", "https://a.example/"),
        ("https://a.example:/", "https://a.example/"),
        ("https:///a.example/", "https://a.example/"),
        ("https:a.example/", "https://a.example/"),
        ("https:\\\\a.example/", "https://a.example/"),
        ("https://a.example/a\"b", "https://a.example/a%22b"),
    ] {
        let error = CallbackUrl::parse(text).unwrap_err();
        assert_eq!(error, UrlError::NotNormal(form.to_owned()), "{text}");
        assert!(error.to_string().contains(form), "{error}");
    }
    let long = format!("https://a.example/{}", "\"".repeat(2_000));
    assert!(CallbackUrl::parse(&long).unwrap_err().to_string().len() < 300);
}

#[test]
fn what_is_no_url_of_a_callback_is_refused_with_what_would_be() {
    for (text, part) in [
        ("", "https URL"),
        ("a.example", "https URL"),
        ("ftp://a.example/", "https URL"),
        ("javascript:alert(1)", "https URL"),
        ("https://", "empty host"),
        ("https://?x", "empty host"),
        ("https://u:p@a.example/", "without user"),
        ("https://@a.example/", "without user"),
        ("https://a.example@b.example/", "without user"),
        ("https://a.example/#x", "fragment"),
        ("https://a.example/#", "fragment"),
        ("https://a.example./x", "dot at its end"),
        ("https://..a.example/", "empty parts"),
        ("https://a..example/", "empty parts"),
        ("https://a.example:0/", "1 to 65535"),
        ("https://a.example:65536/", "1 to 65535"),
        ("https://a.example:99999/", "1 to 65535"),
        ("https://a.example:x/", "1 to 65535"),
        ("https://[fe80::1%25eth0]/", "IPv6"),
        ("https://[fe80::1%eth0]/", "IPv6"),
        ("https://1.2.3.256/", "IPv4"),
        ("https://xn--a/", "domain"),
        ("https://a.example/ x", "printable"),
        ("https://a.exa\tmple/", "printable"),
        ("https://a.example/\n", "printable"),
        ("https://ａ.example/", "printable"),
        ("https://bücher.example/", "printable"),
    ] {
        let error = CallbackUrl::parse(text).unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
    assert!(CallbackUrl::parse(&format!("https://a.b/{}", "x".repeat(2_048))).is_err());
    assert!(CallbackUrl::parse_origin("https://a.example:8443").is_ok());
    for text in ["https://a.example/x", "https://a.example/?", "https://a.example/?x"] {
        assert_eq!(CallbackUrl::parse_origin(text), Err(UrlError::Path), "{text}");
    }
}

#[test]
fn hosts_ports_and_paths_are_compared_as_they_are_meant() {
    for (pattern, url) in [
        ("https://a.com", "https://a.com/any?x=y"),
        ("https://a.com", "https://a.com"),
        ("https://a.com", "https://a.com/group%2frepo/a%2eb/%C0"),
        ("https://A.com/hooks/*", "https://a.COM/hooks/1/2"),
        ("https://*.a.com", "https://b.a.com/"),
        ("https://*.a.com", "https://c.b.a.com/"),
        ("https://a.com:8443/x", "https://a.com:8443/x"),
        ("https://a.com:443/x", "https://a.com/x"),
        ("https://a.com/x", "https://a.com:443/x?y"),
        ("http://a.com:80", "http://a.com/"),
        ("http://a.com", "http://a.com:80/"),
        ("https://[2001:db8::1]/hooks/*", "https://[2001:db8::1]/hooks/1"),
        ("https://[2001:DB8::1]:443", "https://[2001:db8::1]/"),
        ("https://192.0.2.7/*", "https://192.0.2.7/x"),
        ("https://a.com/hooks*", "https://a.com/hooks-1"),
        ("https://a.com/hooks/*", "https://a.com/hooks/..x/x../a.b/...?p=/../"),
        ("https://a.com/hooks/*", "https://a.com/hooks/a;b=c/100%25/%C3%A9/%25used/a%20b"),
        ("https://a.com/a%2fb", "https://a.com/a%2fb"),
    ] {
        assert!(matches!(matched(pattern, url), Matched::Yes), "{pattern} {url}");
    }
    for url in ["x/..%2Fhook", "..%5cx", "%252e%252e/x", "..;/x", ".%00./..%20/x"] {
        let url = format!("https://a.com/{url}");
        assert!(matches!(matched("https://a.com/*", &url), Matched::Disguised), "{url}");
    }
    for (pattern, url) in [
        ("https://a.com", "http://a.com/"),
        ("https://a.com", "https://a.com.evil.com/"),
        ("https://a.com", "https://a.com:8443/"),
        ("https://a.com:80", "https://a.com/"),
        ("http://a.com", "http://a.com:443/"),
        ("https://*.a.com", "https://a.com/"),
        ("https://*.a.com", "https://evila.com/"),
        ("https://a.com/x", "https://a.com/x/y"),
        ("https://a.com/hooks/*", "https://a.com/hooks"),
        ("https://a.com/hooks/*", "https://a.com/Hooks/x"),
        ("https://[2001:db8::1]", "https://[2001:db8::2]/"),
        ("https://[::ffff:c000:207]", "https://192.0.2.7/"),
    ] {
        assert!(matches!(matched(pattern, url), Matched::No), "{pattern} {url}");
    }
}

#[test]
fn nothing_climbs_out_of_a_path() {
    for beyond in [
        "../admin",
        ".%2e/admin",
        "%2e./admin",
        "%2E%2E/admin",
        "..%2fadmin",
        "..%2Fadmin",
        "..%5cadmin",
        "..\\admin",
        "..;/admin",
        "..;x=y/admin",
        ".;/../admin",
        "..%3b/admin",
        "%252e%252e/admin",
        "%25252e%25252e/admin",
        "..%252fadmin",
        "..%255cadmin",
        "%%32e%%32e/admin",
        "%2%65./admin",
        ".%u002e/admin",
        "%25u002e%25u002e/admin",
        "%c0%ae%c0%ae/admin",
        "..%c0%afadmin",
        "..%c1%9cadmin",
        "%e0%80%ae./admin",
        "..%ef%bc%8fadmin",
        "%ef%bc%8e./admin",
        "%e2%80%a5/admin",
        "..%e2%88%95admin",
        "..%00/admin",
        ".%09./admin",
        ".%0a./admin",
        "..%20/admin",
        "%20../admin",
        "..%23/admin",
        "..%3f/admin",
        "..+/admin",
        "x%2f..%5cadmin",
        "%2e%2e%2fadmin",
        "a%2fb",
        "a%5cb",
        "a%2eb",
        "a%252eb",
        "%",
        "%2",
        "..;",
        "..%2f",
        "..%5c",
        "..%20",
    ] {
        let url = format!("https://a.example/hooks/{beyond}");
        assert!(!allowed("https://a.example/hooks/*", &url), "{url}");
        assert!(!allowed("https://a.example/ho*", &url), "{url}");
    }
}

#[test]
fn patterns_are_printed_in_their_normal_form() {
    for (text, expected) in [
        ("https://a.com:1/x*", "https://a.com:1/x*"),
        ("http://*.a.com/*", "http://*.a.com/*"),
        ("https://a.com/x", "https://a.com/x"),
        ("https://a.com", "https://a.com/*"),
        ("https://a.com/", "https://a.com/"),
        ("HTTPS://*.A.com:443", "https://*.a.com/*"),
        ("https://[2001:DB8::1]/hooks/*", "https://[2001:db8::1]/hooks/*"),
    ] {
        let pattern: UrlPattern = text.parse().unwrap();
        assert_eq!(pattern.to_string(), expected);
        assert_eq!(expected.parse::<UrlPattern>().unwrap(), pattern);
    }
}

#[test]
fn wrong_patterns_are_refused_with_what_is_right() {
    for (text, part) in [
        ("", "https URL"),
        ("a.com", "https URL"),
        ("ftp://a.com", "https URL"),
        ("https://", "empty host"),
        ("https://*.", "empty host"),
        ("https://a*.com", "a `*` only"),
        ("https://*", "a `*` only"),
        ("https://*.0.1", "normal form"),
        ("https://*.10.0.0.1", "a `*` only"),
        ("https://*.[::1]", "a `*` only"),
        ("https://a.com/*/x", "a `*` only"),
        ("https://a.com/**", "a `*` only"),
        ("https://a.com:*", "a `*` only"),
        ("https://a.com/x?y*", "without a query"),
        ("https://a.com?y", "without a query"),
        ("https://a.com/#*", "fragment"),
        ("https://a.com:x/", "1 to 65535"),
        ("https://a.com:0/", "1 to 65535"),
        ("https://a.com:65536", "1 to 65535"),
        ("https://u@a.com/", "without user"),
        ("https://a.com./", "dot at its end"),
        ("https://a.com/x/../y/*", "here https://a.com/y/"),
        ("https://a.com/x%2fy/*", "without encoded"),
        ("https://a.com/%2*", "without encoded"),
        ("https://2130706433/*", "here https://127.0.0.1/"),
        ("https://[fe80::1%25eth0]/*", "IPv6"),
    ] {
        let error = text.parse::<UrlPattern>().unwrap_err().to_string();
        assert!(error.contains(part), "{text}: {error}");
    }
}

/// The places that a path may lead to at a server that decodes it so many times.
fn places(path: &str, rounds: usize) -> [String; 4] {
    let mut bytes = path.as_bytes().to_vec();
    for _ in 0..rounds {
        bytes = percent_encoding::percent_decode(&bytes).collect();
    }
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let slashes = text.replace(['\\', '／', '＼'], "/").replace(['．', '\0', '\t', '\n', '\r'], "");
    let cut = |text: &str| {
        let parts = text.split('/').map(|part| part.split([';', '?', '#']).next().unwrap_or(""));
        parts.map(str::trim).collect::<Vec<_>>().join("/")
    };
    [resolve(&text), resolve(&slashes), resolve(&cut(&text)), resolve(&cut(&slashes))]
}

fn resolve(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    format!("/{}/", parts.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn an_allowed_path_stays_below_however_often_a_server_decodes_it(
        pieces in prop::collection::vec(prop::sample::select(vec![
            ".", "..", "/", "\\", ";", "%", "25", "2e", "2f", "5c", "%2e", "%2F", "%5C", "%25",
            "%32", "%3b", "%3f", "%23", "%00", "%09", "%20", "%c0%ae", "%ef%bc%8f", "u002e",
            "?", "a", "hooks", "admin", "x=y",
        ]), 0..10),
    ) {
        let url = format!("https://a.example/hooks/{}", pieces.concat());
        if allowed("https://a.example/hooks/*", &url) {
            let sent = CallbackUrl::parse(&url).unwrap();
            for rounds in 0..6 {
                for place in places(sent.uri().path(), rounds) {
                    prop_assert!(place.starts_with("/hooks/"), "{url}: {rounds}, {place}");
                }
            }
        }
    }

    #[test]
    fn what_is_read_is_sent_as_it_stands_and_read_again_alike(
        text in "(https?|HTTPS)://[a-z0-9.:@%\\[\\]-]{1,16}[/\\\\?#][ -~]{0,24}"
    ) {
        if let Ok(url) = CallbackUrl::parse(&text) {
            prop_assert_eq!(url.to_string(), url.uri().to_string());
            prop_assert_eq!(CallbackUrl::parse(&url.to_string()), Ok(url));
        }
    }
}
