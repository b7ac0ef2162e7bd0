//! Positions on the globe (R4 location.html#positional): great-circle distances without trigonometry in SQL.
//!
//! A position is stored as a unit vector and a cell. The distance between two positions grows with the chord between
//! their vectors, so a database compares distances with three subtractions and three products; the cells, a quarter of
//! a degree wide, let it look at a few rows instead of all.

/// Mean radius of the earth in metres (IUGG).
const EARTH_RADIUS_M: f64 = 6_371_008.8;
/// In radians; less than a millimetre on the ground.
const ANGLE_SLACK: f64 = 1e-10;
const CELLS_PER_DEGREE: f64 = 4.0;
const CELLS_PER_ROW: i32 = 1440;
const ROWS: i32 = 720;

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    /// WGS84 degrees, -90 to 90.
    pub latitude: f64,
    /// WGS84 degrees, -180 to 180.
    pub longitude: f64,
}

impl Position {
    /// `None` when the numbers are outside the globe.
    pub fn new(latitude: f64, longitude: f64) -> Option<Self> {
        ((-90.0..=90.0).contains(&latitude) && (-180.0..=180.0).contains(&longitude))
            .then_some(Self { latitude, longitude })
    }

    /// The unit vector from the centre of the earth.
    pub fn vector(self) -> [f64; 3] {
        let (latitude, longitude) = (self.latitude.to_radians(), self.longitude.to_radians());
        [latitude.cos() * longitude.cos(), latitude.cos() * longitude.sin(), latitude.sin()]
    }

    pub fn cell(self) -> i32 {
        row(self.latitude) * CELLS_PER_ROW + column(self.longitude)
    }

    /// Great-circle distance in metres.
    pub fn distance_m(self, other: Self) -> f64 {
        let chord = chord_squared_between(self.vector(), other.vector()).sqrt();
        2.0 * EARTH_RADIUS_M * (chord / 2.0).min(1.0).asin()
    }

    /// Ranges of cells, both ends included, that hold every position within `distance_m`.
    pub fn cells_within(self, distance_m: f64) -> Vec<(i32, i32)> {
        // A little more than asked: degrees do not survive the way to radians and back to the last digit.
        let angle = distance_m / EARTH_RADIUS_M + ANGLE_SLACK;
        if angle >= std::f64::consts::FRAC_PI_2 {
            return vec![(0, ROWS * CELLS_PER_ROW - 1)];
        }
        let latitude = self.latitude.to_radians();
        let (south, north) = (latitude - angle, latitude + angle);
        let rows = row(south.to_degrees().max(-90.0))..=row(north.to_degrees().min(90.0));
        // Around a pole every longitude is near.
        let half_pi = std::f64::consts::FRAC_PI_2;
        let columns = if north >= half_pi || south <= -half_pi {
            vec![(0, CELLS_PER_ROW - 1)]
        } else {
            let width = (angle.sin() / latitude.cos()).min(1.0).asin().to_degrees();
            self.columns(width)
        };
        rows.flat_map(|row| columns.iter().map(move |(a, b)| (row * CELLS_PER_ROW + a, row * CELLS_PER_ROW + b)))
            .collect()
    }

    /// The columns from `width_degrees` west to `width_degrees` east, in two parts where they cross the date line.
    fn columns(self, width_degrees: f64) -> Vec<(i32, i32)> {
        let (west, east) = (self.longitude - width_degrees, self.longitude + width_degrees);
        if width_degrees >= 179.0 {
            vec![(0, CELLS_PER_ROW - 1)]
        } else if west < -180.0 {
            vec![(0, column(east)), (column(west + 360.0), CELLS_PER_ROW - 1)]
        } else if east > 180.0 {
            vec![(0, column(east - 360.0)), (column(west), CELLS_PER_ROW - 1)]
        } else {
            vec![(column(west), column(east))]
        }
    }
}

/// The square of the chord that spans `distance_m` on the unit sphere: the bound that SQL compares with.
pub fn chord_squared(distance_m: f64) -> f64 {
    let half = (distance_m / EARTH_RADIUS_M / 2.0).min(std::f64::consts::FRAC_PI_2).sin();
    4.0 * half * half
}

/// The square of the chord between two unit vectors, in the steps in which SQL takes it, so that both round alike.
pub fn chord_squared_between([ax, ay, az]: [f64; 3], [bx, by, bz]: [f64; 3]) -> f64 {
    (ax - bx) * (ax - bx) + (ay - by) * (ay - by) + (az - bz) * (az - bz)
}

fn row(latitude: f64) -> i32 {
    (((latitude + 90.0) * CELLS_PER_DEGREE) as i32).clamp(0, ROWS - 1)
}

fn column(longitude: f64) -> i32 {
    (((longitude + 180.0) * CELLS_PER_DEGREE) as i32).clamp(0, CELLS_PER_ROW - 1)
}

/// Metres in a unit of `near`, `None` for a unit that is not offered. Codes are UCUM's; `mi` and `ft` are taken as the
/// international ones.
pub fn unit_m(unit: &str) -> Option<f64> {
    match unit {
        "" | "km" => Some(1000.0),
        "m" => Some(1.0),
        "cm" => Some(0.01),
        "[mi_i]" | "mi" => Some(1609.344),
        "[mi_us]" => Some(6_336_000.0 / 3937.0),
        "[ft_i]" | "ft" => Some(0.3048),
        "[nmi_i]" => Some(1852.0),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn position(latitude: f64, longitude: f64) -> Position {
        Position::new(latitude, longitude).expect("on the globe")
    }

    #[test]
    fn known_distances() {
        let boston = position(42.3601, -71.0589);
        let new_york = position(40.7128, -74.0060);
        assert!((boston.distance_m(new_york) - 306_100.0).abs() < 500.0);
        assert!(boston.distance_m(boston) < 0.01);
        assert!((position(0.0, 0.0).distance_m(position(0.0, 180.0)) - 20_015_114.0).abs() < 10.0);
    }

    #[test]
    fn cells_hold_every_position_within_the_distance() {
        // A walk round circles of several sizes, at the equator, near a pole and across the date line.
        for (latitude, longitude) in [(42.36, -71.06), (0.0, 0.0), (89.9, 10.0), (-64.8, 179.95), (12.0, -179.99)] {
            let centre = position(latitude, longitude);
            for distance in [10.0, 5_000.0, 80_000.0, 1_000_000.0, 9_000_000.0] {
                let cells = centre.cells_within(distance);
                for lat in -89..=89 {
                    for lon in -180..=180 {
                        let near = position(
                            (latitude + f64::from(lat) * distance / 9e6).clamp(-90.0, 90.0),
                            longitude + f64::from(lon) * (distance / 2e7).min(0.00001),
                        );
                        if centre.distance_m(near) <= distance {
                            let cell = near.cell();
                            assert!(cells.iter().any(|(a, b)| (*a..=*b).contains(&cell)), "{near:?} {distance}");
                        }
                    }
                }
            }
        }
    }
}
