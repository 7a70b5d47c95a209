"""Where large earthquakes happen: lines along plate boundaries, much simplified, and how they are drawn there.

Lines follow the boundaries of Bird (2003, "An updated digital model of plate boundaries", doi:10.1029/2001GC000252) by
a few points each, known to about a degree. Shares are relative, and ours: a rough picture of how many events of M >= 5
the regions have in a usual year. Depth classes: shallow to 70 km, intermediate to 300 km, deep to 700 km
("Determining the Depth of an Earthquake", earthquake.usgs.gov); their shares a line are ours.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Kind = Literal["trench", "collision", "transform", "ridge"]


class Boundary(NamedTuple):
    """One line. `inland`: share of its events that lie on land; `deep`: shares of intermediate and deep ones."""

    region: str
    kind: Kind
    share: float
    inland: float
    deep: tuple[float, float]
    towards: tuple[float, float]
    """(east, north) from the line towards land and the deeper slab, of any length; no matter for a ridge"""
    points: tuple[tuple[float, float], ...]
    """(longitude, latitude) in degrees; longitudes go on beyond 180"""


BOUNDARIES: tuple[Boundary, ...] = (
    Boundary("Japan", "trench", 0.06, 0.25, (0.15, 0.02), (-1, 0.4),
             ((141.8, 34.5), (143.8, 38), (144.8, 41.3))),
    Boundary("Kuril Islands", "trench", 0.06, 0.1, (0.15, 0.04), (-1, 1),
             ((145.5, 42), (152, 45.5), (158, 50), (162.5, 54.5))),
    Boundary("Aleutian Islands", "trench", 0.05, 0.08, (0.1, 0.0), (0, 1),
             ((165, 53.5), (175, 51), (185, 50.7), (195, 53), (205, 55.5))),
    Boundary("Izu Islands", "trench", 0.035, 0.02, (0.15, 0.1), (-1, 0),
             ((142, 34), (143, 30), (143.2, 26), (146.5, 22), (147.8, 16), (144.5, 12))),
    Boundary("Taiwan", "trench", 0.025, 0.45, (0.08, 0.0), (-1, 0.2),
             ((121.6, 22), (122, 24), (126, 25), (130.5, 29))),
    Boundary("Philippines", "trench", 0.07, 0.35, (0.15, 0.02), (-1, 0),
             ((126.8, 4.5), (127, 8), (125.8, 12), (123, 16))),
    Boundary("Molucca Sea", "trench", 0.045, 0.2, (0.25, 0.02), (-1, 0),
             ((125.8, 0.5), (126.3, 3), (126.8, 5.5))),
    Boundary("Java", "trench", 0.05, 0.3, (0.2, 0.04), (0, 1),
             ((105, -8), (110, -10.2), (115, -11.2), (119, -11.5))),
    Boundary("Sumatra", "trench", 0.05, 0.35, (0.1, 0.0), (1, 1),
             ((92.5, 10), (93, 5), (97, 0.5), (100.5, -4), (103.5, -7))),
    Boundary("Banda Sea", "trench", 0.045, 0.25, (0.3, 0.06), (0, 1),
             ((122, -10.5), (127, -9.5), (131.5, -7), (131, -4))),
    Boundary("New Guinea", "trench", 0.075, 0.55, (0.15, 0.0), (0, -1),
             ((132, -0.5), (138, -1.5), (143, -3), (147.5, -4.8))),
    Boundary("New Britain", "trench", 0.055, 0.25, (0.25, 0.02), (0, 1),
             ((148.5, -6.8), (152.5, -5.8), (155, -7))),
    Boundary("Solomon Islands", "trench", 0.04, 0.25, (0.2, 0.0), (1, 1),
             ((155, -7.3), (158.5, -9.2), (162, -11))),
    Boundary("Vanuatu", "trench", 0.055, 0.12, (0.3, 0.0), (1, 0),
             ((165.5, -11), (166.5, -15), (168.5, -19.5), (171.5, -22.3))),
    Boundary("Tonga", "trench", 0.06, 0.01, (0.2, 0.25), (-1, 0),
             ((187.5, -15.5), (186.5, -19), (184.5, -24), (182.5, -29))),
    Boundary("Kermadec Islands", "trench", 0.03, 0.01, (0.2, 0.1), (-1, 0),
             ((182.5, -29), (181.5, -33), (179.5, -37.5))),
    Boundary("New Zealand", "trench", 0.012, 0.5, (0.15, 0.02), (-1, 0.4),
             ((178.8, -38), (177, -41), (172.5, -43.2), (167.5, -45.5))),
    Boundary("Chile", "trench", 0.055, 0.4, (0.25, 0.02), (1, 0),
             ((-71.2, -19.5), (-71.6, -25), (-72.5, -31), (-74.5, -37), (-75.8, -44))),
    Boundary("Peru", "trench", 0.025, 0.45, (0.25, 0.1), (1, 0.4),
             ((-81.3, -4), (-80, -9), (-76.5, -15), (-71.8, -18.5))),
    Boundary("Colombia", "trench", 0.01, 0.5, (0.3, 0.0), (1, 0),
             ((-81.2, -1), (-79.5, 2), (-77.8, 6))),
    Boundary("Central America", "trench", 0.035, 0.25, (0.15, 0.0), (1, 1),
             ((-86.5, 9.5), (-90.5, 12.5), (-94.5, 14.2))),
    Boundary("Mexico", "trench", 0.02, 0.45, (0.1, 0.0), (0.5, 1),
             ((-95.5, 14.8), (-100, 16.3), (-105, 18.8))),
    Boundary("Caribbean", "trench", 0.012, 0.15, (0.2, 0.0), (-1, -0.3),
             ((-68, 19.6), (-63, 19.3), (-60.2, 16), (-59.3, 12.5))),
    Boundary("South Sandwich Islands", "trench", 0.02, 0.0, (0.25, 0.0), (-1, 0),
             ((-28, -55.5), (-24.5, -57), (-24.8, -60))),
    Boundary("Himalaya", "collision", 0.02, 1.0, (0.0, 0.0), (0, 1),
             ((74, 34.5), (80, 30), (86, 27.8), (93, 28), (96.5, 28.5))),
    Boundary("Hindu Kush", "collision", 0.015, 1.0, (0.55, 0.0), (0, 1),
             ((69.5, 36.2), (71.5, 36.6), (73.5, 38.5))),
    Boundary("Tibet and Sichuan", "collision", 0.022, 1.0, (0.0, 0.0), (0, 1),
             ((82, 34.5), (90, 33.5), (98, 34), (103.5, 31.5), (101.5, 26))),
    Boundary("Tien Shan", "collision", 0.012, 1.0, (0.0, 0.0), (0, 1),
             ((69, 39.2), (75, 40.5), (80, 42), (86, 44))),
    Boundary("Zagros", "collision", 0.022, 0.95, (0.0, 0.0), (1, 1),
             ((45.5, 35.5), (49.5, 31.5), (53.5, 28), (57, 27.2))),
    Boundary("Anatolia", "transform", 0.014, 0.85, (0.0, 0.0), (0, -1),
             ((27.5, 40.5), (33, 41), (39, 39.8), (36.5, 37))),
    Boundary("Aegean", "trench", 0.016, 0.3, (0.08, 0.0), (0, 1),
             ((20, 38.2), (21.5, 36), (24.5, 34.3), (28, 35.2))),
    Boundary("Myanmar", "collision", 0.012, 0.95, (0.2, 0.0), (1, 0),
             ((94, 18), (94.5, 22), (95.5, 26))),
    Boundary("East Africa", "ridge", 0.01, 0.95, (0.0, 0.0), (1, 0),
             ((40.5, 11.5), (38, 6.5), (30, -2), (30.5, -7), (34.5, -13))),
    Boundary("California and Nevada", "transform", 0.008, 0.7, (0.0, 0.0), (1, 0.5),
             ((-115.5, 32.5), (-118.5, 35), (-122.5, 38), (-125, 40.4))),
    Boundary("Alaska", "trench", 0.015, 0.6, (0.15, 0.0), (-0.4, 1),
             ((-153, 57), (-147, 59.5), (-139.5, 59.8))),
    Boundary("Mid-Atlantic Ridge", "ridge", 0.055, 0.0, (0.0, 0.0), (1, 0),
             ((-35, 55), (-30, 40), (-45, 24), (-38, 6), (-14, -1), (-13, -25), (-12, -45))),
    Boundary("Iceland and Arctic", "ridge", 0.01, 0.1, (0.0, 0.0), (1, 0),
             ((-24, 63.5), (-17, 66.5), (-7, 72), (5, 79))),
    Boundary("Indian Ocean ridges", "ridge", 0.06, 0.0, (0.0, 0.0), (1, 0),
             ((57, 13), (67, 0), (70, -24), (55, -32), (27, -53))),
    Boundary("Southeast Indian Ridge", "ridge", 0.035, 0.0, (0.0, 0.0), (1, 0),
             ((78, -36), (100, -48), (125, -49.5), (150, -60))),
    Boundary("East Pacific Rise", "ridge", 0.045, 0.0, (0.0, 0.0), (1, 0),
             ((-108, 20), (-104, 8), (-106, -9), (-112, -26), (-111, -40), (-120, -55))),
    Boundary("Pacific-Antarctic Ridge", "ridge", 0.02, 0.0, (0.0, 0.0), (1, 0),
             ((-120, -55), (-145, -58), (-175, -63))),
    Boundary("Galapagos and Cocos", "ridge", 0.01, 0.0, (0.0, 0.0), (1, 0),
             ((-101, 2), (-91, 1), (-84, 3))),
    Boundary("Gulf of Aden and Red Sea", "ridge", 0.01, 0.05, (0.0, 0.0), (1, 0),
             ((57, 14), (48, 12.5), (42, 14.5))),
)  # fmt: skip
