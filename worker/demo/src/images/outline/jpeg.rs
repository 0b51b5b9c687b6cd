//! JPEG: segments behind markers, with entropy-coded data after each start of a
//! scan.

use super::{Outline, at};

const START_OF_IMAGE: u8 = 0xd8;
const END_OF_IMAGE: u8 = 0xd9;
const START_OF_SCAN: u8 = 0xda;

pub(super) fn outline(bytes: &[u8]) -> Outline {
    let mut outline = Outline::default();
    let mut offset = 2;
    while let Some((marker, after)) = next_marker(bytes, offset) {
        offset = after;
        match marker {
            END_OF_IMAGE => {
                outline.complete = true;
                break;
            }
            // Stand-alone markers have no segment.
            START_OF_IMAGE | 0x01 => continue,
            _ => {}
        }
        let Some(length) = at(bytes, offset).map(u16::from_be_bytes) else { break };
        if is_start_of_frame(marker)
            && let (Some(height), Some(width)) = (at(bytes, offset + 3), at(bytes, offset + 5))
        {
            outline.claim(u16::from_be_bytes(width).into(), u16::from_be_bytes(height).into());
            outline.printing |= bytes.get(offset + 7) == Some(&4);
        }
        // What follows the header of a scan is searched by `next_marker`, which
        // passes over everything that is not a marker.
        offset += usize::from(length.max(2));
        if marker != START_OF_SCAN && offset > bytes.len() {
            break;
        }
    }
    outline
}

/// The next marker at or after `offset`, and where its segment begins. Stuffed
/// zeros and restart markers belong to the entropy-coded data.
fn next_marker(bytes: &[u8], mut offset: usize) -> Option<(u8, usize)> {
    loop {
        offset += bytes.get(offset..)?.iter().position(|&byte| byte == 0xff)? + 1;
        match *bytes.get(offset)? {
            0xff => {}
            0x00 | 0xd0..=0xd7 => offset += 1,
            marker => return Some((marker, offset + 1)),
        }
    }
}

fn is_start_of_frame(marker: u8) -> bool {
    matches!(marker, 0xc0..=0xcf) && !matches!(marker, 0xc4 | 0xc8 | 0xcc)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: &[u8] = &[
        0xff, 0xd8, // start of image
        0xff, 0xe0, 0, 4, 0xff, 0xd9, // a segment that contains what looks like an end
        0xff, 0xc2, 0, 8, 8, 0, 20, 0, 30, 0, // a frame of 30 x 20
        0xff, 0xda, 0, 2, // a scan
    ];

    #[test]
    fn an_end_inside_a_segment_or_stuffing_in_a_scan_ends_nothing() {
        let mut bytes = HEADER.to_vec();
        bytes.extend([1, 2, 0xff, 0x00, 3, 0xff, 0xd0, 4]);
        assert_eq!(outline(&bytes), Outline { pixels: 600, ..Outline::default() });
        bytes.extend([0xff, 0xff, 0xd9]);
        assert_eq!(outline(&bytes), Outline { pixels: 600, complete: true, printing: false });
    }

    #[test]
    fn a_frame_of_four_colours_is_for_printing() {
        for (colours, printing) in [(1, false), (3, false), (4, true)] {
            let mut bytes = HEADER.to_vec();
            bytes[17] = colours;
            assert_eq!(outline(&bytes).printing, printing, "{colours}");
        }
    }
}
