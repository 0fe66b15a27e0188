"""Temperature of the air over the day and the year."""

import numpy as np

from simulator.cars import CarParameters
from simulator.chance import F4

DAY_S = 86_400.0
YEAR_DAYS = 365.25
# Central Europe (DWD, 1991-2020): warmest in the middle of July and in the afternoon.
WARMEST_DAY, WARMEST_HOUR = 198.0, 15.5
FIRST_DAY = 120.0  # the end of April, when the temperature is near the mean of the year


def ambient_c(car: CarParameters, day: F4) -> F4:
    """Air temperature at the cars; day (n,) counts from 1 January, its fraction is the time of day."""
    season = np.cos((day - WARMEST_DAY) * (2 * np.pi / YEAR_DAYS))
    hour = np.cos((day % 1 - WARMEST_HOUR / 24) * (2 * np.pi))
    air_c: F4 = car.climate_c + car.season_k * season + car.swing_k * hour
    return air_c
