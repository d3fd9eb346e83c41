"""The families of the image world, in a stable order.

Adding one is a drawing function and a table in one of these files, listed in its `FAMILIES`.
"""

from . import (
    animals,
    creatures,
    dishes,
    places,
    plants,
    produce,
    road,
    things,
    tools,
    travel,
    wildlife,
)

MODULES = (
    animals, wildlife, creatures, plants, produce, dishes, road, travel, places, tools, things,
)  # fmt: skip
FAMILIES = tuple(family for module in MODULES for family in module.FAMILIES)
