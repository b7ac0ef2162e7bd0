//! The states and cities of the directory.

use super::random::Random;

/// A state with the rectangle around it, in tenths of a degree: south, west, north, east.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct State {
    pub(super) code: &'static str,
    pub(super) name: &'static str,
    pub(super) bounds: [i32; 4],
}

/// A city: its state (an index into [`STATES`]), the first three digits of its postal codes, a telephone area code,
/// its middle in millionths of a degree, and how much of the directory it draws (population in 100,000s, roughly).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct City {
    pub(super) name: &'static str,
    pub(super) state: usize,
    pub(super) zip: &'static str,
    pub(super) area_code: u32,
    pub(super) latitude: i64,
    pub(super) longitude: i64,
    pub(super) weight: u32,
}

impl City {
    pub(super) fn state(&self) -> State {
        STATES.get(self.state).copied().unwrap_or_default()
    }

    /// The two-letter code, lower case, as ids carry it.
    pub(super) fn state_id(&self) -> String {
        self.state().code.to_lowercase()
    }

    /// A point within 15 km of the middle, closer ones more likely; latitude and longitude in millionths of a degree.
    pub(super) fn somewhere(&self, random: &mut Random) -> (i64, i64) {
        // Two draws added give a peak in the middle. 0.09 degrees of latitude are 10 km; 0.11 degrees of longitude are
        // at most 11 km at the southernmost city here.
        let mut offset = |reach: u32| i64::from(random.below(reach + 1) + random.below(reach + 1)) - i64::from(reach);
        (self.latitude + offset(90_000), self.longitude + offset(110_000))
    }

    /// Another city of the same state.
    pub(super) fn neighbour(&self, random: &mut Random) -> Self {
        let weight = |city: &Self| if city.state == self.state { city.weight } else { 0 };
        CITIES.get(random.weighted(CITIES, weight)).copied().unwrap_or(*self)
    }
}

pub(super) fn any_city(random: &mut Random) -> City {
    CITIES.get(random.weighted(CITIES, |city| city.weight)).copied().unwrap_or_default()
}

const fn state(code: &'static str, name: &'static str, bounds: [i32; 4]) -> State {
    State { code, name, bounds }
}

pub(super) const STATES: &[State] = &[
    state("CA", "California", [325, -1245, 420, -1141]),
    state("TX", "Texas", [258, -1067, 365, -935]),
    state("NY", "New York", [405, -798, 451, -718]),
    state("FL", "Florida", [245, -877, 310, -800]),
    state("IL", "Illinois", [369, -916, 425, -870]),
    state("PA", "Pennsylvania", [397, -806, 423, -746]),
    state("OH", "Ohio", [384, -849, 420, -805]),
    state("GA", "Georgia", [303, -856, 350, -808]),
    state("NC", "North Carolina", [338, -844, 366, -754]),
    state("MA", "Massachusetts", [412, -735, 429, -699]),
    state("WA", "Washington", [455, -1248, 490, -1169]),
    state("CO", "Colorado", [369, -1091, 410, -1020]),
    state("AZ", "Arizona", [313, -1149, 370, -1090]),
    state("MI", "Michigan", [417, -905, 483, -821]),
    state("MN", "Minnesota", [435, -973, 494, -895]),
    state("CT", "Connecticut", [409, -738, 421, -717]),
];

const fn city(
    state: usize,
    name: &'static str,
    (zip, area_code): (&'static str, u32),
    (latitude, longitude): (i64, i64),
    weight: u32,
) -> City {
    City { name, state, zip, area_code, latitude, longitude, weight }
}

pub(super) const CITIES: &[City] = &[
    city(0, "Los Angeles", ("900", 213), (34_052_235, -118_243_683), 40),
    city(0, "San Diego", ("921", 619), (32_715_736, -117_161_087), 14),
    city(0, "San Jose", ("951", 408), (37_338_207, -121_886_330), 10),
    city(0, "San Francisco", ("941", 415), (37_774_929, -122_419_418), 9),
    city(0, "Fresno", ("937", 559), (36_737_797, -119_787_125), 5),
    city(0, "Sacramento", ("958", 916), (38_581_573, -121_494_400), 5),
    city(1, "Houston", ("770", 713), (29_760_427, -95_369_804), 23),
    city(1, "San Antonio", ("782", 210), (29_424_122, -98_493_629), 14),
    city(1, "Dallas", ("752", 214), (32_776_665, -96_796_989), 13),
    city(1, "Austin", ("787", 512), (30_267_153, -97_743_057), 10),
    city(1, "Fort Worth", ("761", 817), (32_755_489, -97_330_765), 9),
    city(1, "El Paso", ("799", 915), (31_761_877, -106_485_023), 7),
    city(2, "New York", ("100", 212), (40_712_776, -74_005_974), 60),
    city(2, "Buffalo", ("142", 716), (42_886_448, -78_878_372), 3),
    city(2, "Rochester", ("146", 585), (43_156_578, -77_608_849), 2),
    city(2, "Albany", ("122", 518), (42_652_580, -73_756_233), 2),
    city(2, "Syracuse", ("132", 315), (43_048_122, -76_147_423), 2),
    city(3, "Jacksonville", ("322", 904), (30_332_184, -81_655_651), 9),
    city(3, "Miami", ("331", 305), (25_761_681, -80_191_788), 9),
    city(3, "Tampa", ("336", 813), (27_950_575, -82_457_176), 6),
    city(3, "Orlando", ("328", 407), (28_538_336, -81_379_234), 5),
    city(3, "Tallahassee", ("323", 850), (30_438_256, -84_280_731), 2),
    city(4, "Chicago", ("606", 312), (41_878_113, -87_629_799), 27),
    city(4, "Springfield", ("627", 217), (39_781_721, -89_650_148), 2),
    city(4, "Peoria", ("616", 309), (40_693_649, -89_588_986), 2),
    city(4, "Rockford", ("611", 815), (42_271_132, -89_093_995), 2),
    city(5, "Philadelphia", ("191", 215), (39_952_583, -75_165_222), 16),
    city(5, "Pittsburgh", ("152", 412), (40_440_624, -79_995_888), 6),
    city(5, "Allentown", ("181", 610), (40_602_294, -75_471_404), 2),
    city(5, "Harrisburg", ("171", 717), (40_273_191, -76_886_701), 1),
    city(6, "Columbus", ("432", 614), (39_961_178, -82_998_795), 9),
    city(6, "Cleveland", ("441", 216), (41_499_320, -81_694_361), 7),
    city(6, "Cincinnati", ("452", 513), (39_103_118, -84_512_020), 6),
    city(6, "Toledo", ("436", 419), (41_652_805, -83_537_867), 3),
    city(7, "Atlanta", ("303", 404), (33_748_995, -84_387_982), 10),
    city(7, "Savannah", ("314", 912), (32_080_899, -81_091_203), 2),
    city(7, "Augusta", ("309", 706), (33_473_498, -82_010_515), 2),
    city(8, "Charlotte", ("282", 704), (35_227_087, -80_843_127), 9),
    city(8, "Raleigh", ("276", 919), (35_779_590, -78_638_179), 5),
    city(8, "Durham", ("277", 984), (35_994_033, -78_898_619), 3),
    city(8, "Greensboro", ("274", 336), (36_072_635, -79_791_975), 3),
    city(9, "Boston", ("021", 617), (42_360_083, -71_058_880), 12),
    city(9, "Worcester", ("016", 508), (42_262_593, -71_802_293), 3),
    city(9, "Springfield", ("011", 413), (42_101_483, -72_589_811), 2),
    city(10, "Seattle", ("981", 206), (47_606_209, -122_332_071), 10),
    city(10, "Spokane", ("992", 509), (47_658_780, -117_426_047), 3),
    city(10, "Tacoma", ("984", 253), (47_252_877, -122_444_291), 3),
    city(11, "Denver", ("802", 303), (39_739_236, -104_990_251), 8),
    city(11, "Colorado Springs", ("809", 719), (38_833_882, -104_821_363), 5),
    city(11, "Fort Collins", ("805", 970), (40_585_260, -105_084_423), 2),
    city(12, "Phoenix", ("850", 602), (33_448_377, -112_074_037), 16),
    city(12, "Tucson", ("857", 520), (32_222_607, -110_974_711), 5),
    city(12, "Mesa", ("852", 480), (33_415_184, -111_831_472), 4),
    city(13, "Detroit", ("482", 313), (42_331_427, -83_045_754), 8),
    city(13, "Grand Rapids", ("495", 616), (42_963_360, -85_668_086), 3),
    city(13, "Lansing", ("489", 517), (42_732_535, -84_555_535), 2),
    city(14, "Minneapolis", ("554", 612), (44_977_753, -93_265_011), 6),
    city(14, "Saint Paul", ("551", 651), (44_953_703, -93_089_958), 4),
    city(14, "Duluth", ("558", 218), (46_786_672, -92_100_485), 1),
    city(15, "Hartford", ("061", 860), (41_765_804, -72_673_372), 3),
    city(15, "New Haven", ("065", 203), (41_308_274, -72_927_884), 2),
    city(15, "Bridgeport", ("066", 475), (41_179_226, -73_189_438), 2),
];
