//! Templates are text with `@places@`, because people review them as text.

/// The fragment with a text in each of its places. A place that has a line to itself
/// takes any number of lines, each indented as it is; with no text the line is left out.
pub(super) fn fill(fragment: &str, texts: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(fragment.len() * 2);
    for line in fragment.lines() {
        let trimmed = line.trim_start();
        let (indent, _) = line.split_at(line.len() - trimmed.len());
        let alone = |(place, _): &&(&str, &str)| {
            trimmed.strip_prefix('@').and_then(|rest| rest.strip_suffix('@')) == Some(*place)
        };
        if let Some((_, text)) = texts.iter().find(alone) {
            for line in text.lines() {
                let indent = if line.is_empty() { "" } else { indent };
                filled.extend([indent, line, "\n"]);
            }
            continue;
        }
        let mut line = line.to_owned();
        for (place, text) in texts {
            line = line.replace(&format!("@{place}@"), text);
        }
        filled.push_str(&line);
        filled.push('\n');
    }
    filled
}

/// Blocks with an empty line between them.
pub(super) fn blocks(blocks: impl IntoIterator<Item = String>) -> String {
    let blocks: Vec<String> = blocks.into_iter().filter(|block| !block.is_empty()).collect();
    blocks.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_its_own_takes_many_and_none() {
        let fragment = "a: @x@\nb:\n  @many@\n  @none@\nc\n";
        let texts = [("x", "1"), ("many", "y: 2\n\nz: 3\n"), ("none", "")];
        assert_eq!(fill(fragment, &texts), "a: 1\nb:\n  y: 2\n\n  z: 3\nc\n");
    }
}
