//! What a worker says about itself.

use super::name;

pub(super) fn metrics<'a>(
    get: &impl Fn(&str) -> Option<&'a str>,
    in_lambda: bool,
    errors: &mut Vec<String>,
) -> Option<String> {
    let namespace = get(name::METRICS_NAMESPACE).unwrap_or("Queuebridge");
    // What CloudWatch takes as a namespace; `AWS/` is its own.
    let fits = |c: char| c.is_ascii_alphanumeric() || ".-_/#:".contains(c);
    if namespace.len() > 255 || !namespace.chars().all(fits) || namespace.starts_with("AWS/") {
        errors.push(format!(
            "{}: expected up to 255 letters, digits and `.-_/#:`, and not `AWS/` in front",
            name::METRICS_NAMESPACE
        ));
    }
    let on = match get(name::METRICS) {
        None => in_lambda,
        Some("emf") => true,
        Some("none") => false,
        Some(_) => {
            errors.push(format!("{}: expected `emf` or `none`", name::METRICS));
            false
        }
    };
    on.then(|| namespace.to_owned())
}
