//! What the route guide knows: a few places of the tutorial's list.

use super::routeguide::{Feature, Point};

const PLACES: [(i32, i32, &str); 8] = [
    (407_838_351, -746_143_763, "Patriots Path, Mendham, NJ 07945, USA"),
    (408_122_808, -743_999_179, "101 New Jersey 10, Whippany, NJ 07981, USA"),
    (413_628_156, -749_015_468, "U.S. 6, Shohola, PA 18458, USA"),
    (419_999_544, -740_371_136, "5 Conners Road, Kingston, NY 12401, USA"),
    (414_008_389, -743_951_297, "Mid Hudson Psychiatric Center, New Hampton, NY 10958, USA"),
    (419_611_318, -746_524_769, "287 Flugertown Road, Livingston Manor, NY 12758, USA"),
    (406_109_563, -742_186_778, "4001 Tremley Point Road, Linden, NJ 07036, USA"),
    (409_146_138, -746_188_906, "Berkshire Valley Management Area Trail, Jefferson, NJ, USA"),
];

/// All of them.
pub(super) fn all() -> impl Iterator<Item = Feature> + Send {
    PLACES.into_iter().map(|(latitude, longitude, name)| Feature {
        name: name.to_owned(),
        location: Some(Point { latitude, longitude }),
    })
}

/// The one at this point.
pub(super) fn at(point: &Point) -> Option<Feature> {
    all().find(|feature| feature.location.as_ref() == Some(point))
}
