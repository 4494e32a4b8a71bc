//! What a viewer asks of the video: one layer, or none above a limit.

use std::time::Instant;

use serde::Deserialize;

use super::track::{Layer, Track};
use crate::bwe::{Bitrate, Wishes};

/// "None", as the layer extension of WHEP writes it in a number.
const NONE: u16 = 255;

/// A layer by name, or limits, in the words of the WHEP layer extension. What is left out is free; what
/// names nothing that is live now is as if it were left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LayerWish {
    /// Restriction id of the encoding.
    pub encoding_id: Option<String>,
    /// This spatial layer.
    pub spatial_layer_id: Option<u16>,
    /// This temporal layer, with those below.
    pub temporal_layer_id: Option<u16>,
    /// No spatial layer above this one.
    pub max_spatial_layer_id: Option<u16>,
    /// No temporal layer above this one.
    pub max_temporal_layer_id: Option<u16>,
    /// No wider picture.
    pub max_width: Option<u16>,
    /// No higher picture.
    pub max_height: Option<u16>,
    /// No more bits a second, headers included.
    pub max_bitrate: Option<u64>,
}

impl LayerWish {
    /// Nothing is asked for.
    pub fn is_free(&self) -> bool {
        *self == Self::default()
    }

    /// Highest temporal layer that is wanted.
    pub fn temporal(&self) -> Option<u8> {
        let given = |id: Option<u16>| id.filter(|id| *id < NONE).map(|id| id as u8);
        let (one, most) = (
            given(self.temporal_layer_id),
            given(self.max_temporal_layer_id),
        );
        one.into_iter().chain(most).min()
    }

    fn names(&self, entry: &Entry<'_>) -> bool {
        let rid = self.encoding_id.as_deref();
        let spatial = self.spatial_layer_id.filter(|id| *id < NONE);
        let place = spatial.filter(|_| entry.spatial.is_some() || rid.is_none());
        (rid.is_some() || place.is_some())
            && rid.is_none_or(|rid| rid == entry.rid)
            && place.is_none_or(|place| usize::from(place) == entry.place)
    }

    fn admits(&self, entry: &Entry<'_>) -> bool {
        let within = |limit: Option<u16>, value: Option<u16>| match (limit, value) {
            (Some(limit), Some(value)) if limit > 0 => value <= limit,
            _ => true,
        };
        let spatial = self.max_spatial_layer_id.filter(|id| *id < NONE);
        within(self.max_width, entry.size.map(|s| s.0))
            && within(self.max_height, entry.size.map(|s| s.1))
            && spatial.is_none_or(|most| entry.place <= usize::from(most))
            && self
                .max_bitrate
                .is_none_or(|most| most == 0 || entry.rate <= Bitrate::from_bps(most))
    }

    fn has_limits(&self) -> bool {
        let spatial = self.max_spatial_layer_id.filter(|id| *id < NONE);
        let sides = [self.max_width, self.max_height];
        let sizes = sides.iter().flatten().any(|limit| *limit > 0);
        spatial.is_some() || sizes || self.max_bitrate.is_some_and(|limit| limit > 0)
    }
}

/// A layer that may be chosen, with what wishes speak of.
struct Entry<'a> {
    rid: &'a str,
    /// Its number in offers.
    number: usize,
    /// Its place by quality among those that are live.
    place: usize,
    spatial: Option<u8>,
    size: Option<(u16, u16)>,
    rate: Bitrate,
}

impl Track {
    /// A viewer's wish in the numbers of [`Track::offers`].
    pub fn wishes(&self, wish: &LayerWish, now: Instant) -> Wishes {
        if wish.is_free() {
            return Wishes::default();
        }
        let offers = self.offers(now);
        let entries = || {
            let entry = |(place, offer): (usize, &crate::bwe::LayerOffer)| {
                let (layer, spatial) = self.at(offer.layer)?;
                Some(Entry {
                    rid: &layer.rid,
                    number: offer.layer,
                    place,
                    spatial,
                    size: layer.meter.resolution_of(spatial),
                    rate: offer.bitrate(),
                })
            };
            offers.iter().enumerate().filter_map(entry)
        };
        let only = entries().find(|e| wish.names(e)).map(|e| e.number);
        let max = wish.has_limits().then(|| {
            let highest = entries().rfind(|e| wish.admits(e));
            highest.or_else(|| entries().next()).map(|e| e.number)
        });
        Wishes {
            only,
            max: max.flatten(),
        }
    }

    /// The layer with a number, and which of its spatial layers that is if it has several.
    pub(super) fn at(&self, number: usize) -> Option<(&Layer, Option<u8>)> {
        match &self.layers[..] {
            [only] if only.rates.spatial() > 0 => Some((only, u8::try_from(number).ok())),
            layers => Some((layers.get(number)?, None)),
        }
    }
}

#[cfg(test)]
#[path = "wish_tests.rs"]
mod tests;
