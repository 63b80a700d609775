"""What pixels' colours are made of, eight at a time: sky, texture, sunlight, shadow and sRGB, as code for `shading`.

Pixels of a row that see one triangle are a run. What a run's triangle fixes is computed for eight runs together, into
RUN_NUMBERS per run; what is left is done for eight neighbouring pixels together, whatever runs they are of. Colours go
into planes of a row's scratch; `encode_row` lights and encodes a whole row.
"""

# mypy: disable-error-code="no-untyped-def, misc, unused-ignore"

from __future__ import annotations

from typing import Any

from llvmlite import ir

from aerialworld_core.kernels import intrinsic, types
from aerialworld_sim.lanes import BYTE, FLOAT, INT, LANES, LONG, Code, Term, eight
from aerialworld_sim.sun_map import BIAS, CELLS, LEVELS
from aerialworld_sim.surfaces import DENSITY, DUV1, DUV2, NORMAL, RECORD, ROUGHNESS, SUN, UV
from aerialworld_sim.textures import CODE_BITS, ENCODE_STEPS, TEXEL_SCALE
from aerialworld_sim.vectors import PIXELS, TILE

#: A level of the sun map is left for the next when a pixel covers this share of its texels: an edge is soft by one to
#: two and a half pixels.
COARSENESS = 0.4
#: Depths beyond are nothing's.
_FAR = 1e30

#: Planes of a row's scratch: the pixels' directions left and up; the sun's share (−1: a colour that is light itself);
#: linear red, green, blue.
LEFT, UP, SHARE, RED, GREEN, BLUE = range(6)
PLANES = 6

#: Places among a picture's float32 numbers: the camera's axes in map, the way to the sun in map and in the camera, the
#: light of sun and surroundings, the sky, a pixel's size at 1 m, the sun map's axes and its levels' texels; the
#: camera's axes along the sun map's (three times forward, left, up), and how high the camera lies along the last.
AXES, TO_SUN, SUN_LIGHT, AMBIENT, HORIZON, ZENITH, PIXEL, PLANE, TEXELS = 0, 9, 12, 15, 18, 21, 24, 25, 34
TURNED = TEXELS + LEVELS
HEIGHT = TURNED + 9
NUMBERS = HEIGHT + 1
#: What a level of the sun map is to a picture: how far the camera lies past its texel across and along the map, in
#: texels, and texels per metre (float32); that texel's column and line, the level's tiles in a row and in a column, its
#: first tile (int32).
PAST_A, PAST_B, PER_METRE, COLUMN, LINE, ACROSS, ALONG, FIRST = range(8)
LATTICE = 8

#: What a run's triangle fixes: texture coordinates and their changes, the mip level's first texel, width and height,
#: and whether there is a texture at all; colour; the cosine to the sun and its changes; the normal in the camera; how
#: the receiving plane rises from texel to texel of the sun map; the level of the sun map. Whole numbers are int32.
U0, U1, U2, V0, V1, V2, TEXEL, WIDTH, TALL, TEXTURED, COLOUR, COSINE, FACING, STEP_A, STEP_B, LEVEL = (
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 16, 19, 20, 24,
)  # fmt: skip
RUN_NUMBERS = LEVEL + LATTICE

#: Arrays that the code reads, in the order of their addresses; the last of them are the sun map's.
TILES = ("heights", "place", "missing")
ARRAYS = (
    "records", "material", "colour", "first_level", "levels", "texels", "level_offset", "level_width", "level_height",
    "encode", "numbers", "lattice", *TILES,
)  # fmt: skip


class _Arrays:
    """The arrays' addresses, by name: each is loaded where it is asked for."""

    def __init__(self, builder: Any, where: Any) -> None:
        self._builder, self._where = builder, where

    def __getattr__(self, name: str) -> Any:
        place = self._builder.add(self._where, LONG(8 * ARRAYS.index(name)))
        return self._builder.load(self._builder.inttoptr(place, LONG.as_pointer()))


class _Row:
    """Code over a row's scratch, and the picture's numbers."""

    def __init__(self, c: Code, arrays: _Arrays, row: Any, pitch: Any) -> None:
        self.c, self.builder, self.arrays, self.row, self.pitch = c, c.builder, arrays, row, pitch

    def plane(self, number: int) -> Any:
        return self.c.at(self.row, self.builder.mul(self.pitch, LONG(number)), 4)

    def number(self, place: int) -> Term:
        return self.c.single(self.arrays.numbers, place)

    def dot(self, place: int, vector: list[Term]) -> Term:
        """Three of the picture's numbers times a vector."""
        return sum_of([self.number(place + k) * vector[k] for k in range(3)])

    def store(self, i: Any, share: Term, colours: list[Term]) -> None:
        for plane, value in zip((SHARE, RED, GREEN, BLUE), (share, *colours), strict=True):
            self.c.store(value, self.c.apart(self.plane(plane)), i)


def sum_of(terms: list[Term]) -> Term:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


@intrinsic
def sky_run(typing_context, where, row, pitch, n):
    """n pixels of sky, whose scratch is at `row`: from the horizon's colour to the zenith's by the sine of elevation,
    in linear light."""
    signature = types.void(types.uintp, types.uintp, types.intp, types.intp)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        where, row, pitch, n = arguments
        c = Code(builder)
        run = _Row(c, _Arrays(builder, where), row, pitch)
        horizon, zenith = ([run.number(place + k) for k in range(3)] for place in (HORIZON, ZENITH))
        forward, side, rise = (run.number(AXES + 3 * k + 2) for k in range(3))
        count = Term(builder, builder.trunc(n, INT))
        with c.steps(n) as i:
            mine = c.ramp() + Term(builder, builder.trunc(i, INT)) < count
            left, up = c.load(run.plane(LEFT), i), c.load(run.plane(UP), i)
            sine = ((forward + left * side + up * rise) / (left * left + up * up + 1.0).sqrt()).greatest(0.0)
            new = [c.constant(eight(FLOAT), [-1.0] * LANES)]
            new += [h + sine * (z - h) for h, z in zip(horizon, zenith, strict=True)]
            before = [c.load(run.plane(plane), i) for plane in (SHARE, RED, GREEN, BLUE)]
            share, *colours = (mine.where(a, b) for a, b in zip(new, before, strict=True))
            run.store(i, share, colours)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def prepare_runs(typing_context, where, row, pitch, faces, middles, depth, count, runs):
    """What the triangles of `count` runs fix, into `runs` (RUN_NUMBERS each); eight at a time, so that all arrays are
    eight runs longer.

    faces, middles  addresses of int32: the triangle, and the pixel of the row in the run's middle; depth  of the row's
    """
    p = types.uintp
    signature = types.void(p, p, types.intp, p, p, p, types.intp, p)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        where, row, pitch, faces, middles, depth, count, runs = arguments
        c, arrays = Code(builder), _Arrays(builder, where)
        run = _Row(c, arrays, row, pitch)
        with c.steps(count) as i:
            face, middle = c.load(faces, i, INT).greatest(0), c.load(middles, i, INT)  # −1: sky
            record = _records(c, arrays.records, face)
            normal = record[NORMAL : NORMAL + 3]
            facing = [run.dot(AXES + 3 * k, normal) for k in range(3)]
            left, up = (c.gather(run.plane(plane), middle) for plane in (LEFT, UP))
            across = c.gather(depth, middle) * run.number(PIXEL)  # a pixel's size there
            slope = (facing[0] + left * facing[1] + up * facing[2]) * -1.0 / (left * left + up * up + 1.0).sqrt()
            texture = _texture_of(c, arrays, face, record[DENSITY], across, slope.greatest(0.01))
            light = sum_of([run.number(SUN_LIGHT + k) for k in range(3)])
            cosine = [(light > 0.0).where(record[SUN + k], 0.0) for k in range(3)]
            level, steps = _level_of(run, normal, across)
            numbers = [*record[UV : UV + 1], *(record[k] for k in (DUV1, DUV2, UV + 1, DUV1 + 1, DUV2 + 1))]
            numbers += [*texture, *cosine, *facing, *steps]
            _spread(c, numbers, level, arrays.lattice, c.at(runs, i, 4 * RUN_NUMBERS))
        return context.get_dummy_value()

    return signature, generate


def _records(c: Code, records: Any, face: Term) -> list[Term]:
    """The records of eight faces, field by field."""
    at = [c.at(records, c.builder.zext(face.lane(k), LONG), 4 * RECORD) for k in range(LANES)]
    fields: list[Term] = []
    for half in range(0, RECORD, LANES):
        fields += c.transposed([c.load(address, half, align=4 * LANES) for address in at])
    return fields


def _spread(c: Code, numbers: list[Term], level: Term, lattice: Any, runs: Any) -> None:
    """Eight runs' numbers and their levels of the sun map to memory, run by run."""
    for start in range(0, LEVEL, LANES):
        columns = [n.bits(FLOAT) for n in numbers[start : start + LANES]]
        columns += [columns[0]] * (LANES - len(columns))
        for k, mine in enumerate(c.transposed(columns)):
            c.store(mine, runs, k * RUN_NUMBERS + start)
    for k in range(LANES):
        entry = c.at(lattice, c.builder.zext(level.lane(k), LONG), 4 * LATTICE)
        c.store(c.load(entry), runs, k * RUN_NUMBERS + LEVEL)


def _texture_of(c: Code, arrays: _Arrays, face: Term, density: Term, across: Term, slope: Term) -> list[Term]:
    """First texel, width and height of the mip level, whether there is a texture, and the colour; without one, a white
    texel's.

    Which mip level has texels of a pixel's size: texels under a pixel, between the footprint's area (1/slope) and its
    longer side squared (1/slope²), so that grazing views neither blur nor glitter. A level halves an edge: one for 2
    texels, another for every factor of 4.
    """
    kind = c.gather(arrays.material, face, INT)
    colour = [c.gather(arrays.colour, kind * 3 + k) * TEXEL_SCALE for k in range(3)]
    levels = c.gather(arrays.levels, kind, INT)
    textured = levels > 0
    footprint = density * across * across / (slope * slope.sqrt())
    exponent = (footprint.bits(INT) >> 23) - 127
    wanted = (exponent > 0).where((exponent + 1) >> 1, 0)
    level = textured.where(c.gather(arrays.first_level, kind, INT) + wanted.least(levels - 1), 0)
    width, height = (c.gather(a, level, INT) for a in (arrays.level_width, arrays.level_height))
    offset = c.gather(arrays.level_offset, level * 2, INT)  # its lower half: textures.MOST_TEXELS
    sizes = [textured.where(value, other) for value, other in ((offset, 0), (width, 1), (height, 1))]
    return [*sizes, textured.where(c.constant(eight(INT), [1] * LANES), 0), *colour]


def _level_of(run: _Row, normal: list[Term], across: Term) -> tuple[Term, list[Term]]:
    """The level of the sun map whose texels suit a pixel's size, and by how much the plane that receives the light
    rises from texel to texel, across and along."""
    c = run.c
    # It rises by −normal/steep per metre across the sun's direction; beyond 20 it is held.
    steep = run.dot(PLANE + 6, normal).greatest(0.05)
    size = across * steep.sqrt()  # of a pixel, seen from the sun: shorter along its direction
    level = c.constant(eight(INT), [0] * LANES)
    one = c.constant(eight(INT), [1] * LANES)
    for k in range(LEVELS - 1):
        level = level + (size > run.number(TEXELS + k) * COARSENESS).where(one, 0)
    texel = c.gather(c.at(run.arrays.numbers, TEXELS, 4), level)
    return level, [run.dot(PLANE + 3 * k, normal) / steep * texel * -1.0 for k in range(2)]


@intrinsic
def spread_run(typing_context, run, lanes):
    """One run's numbers (address) as those of eight pixels: `lanes`, RUN_NUMBERS vectors."""
    signature = types.void(types.uintp, types.uintp)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        run, lanes = arguments
        c = Code(builder)
        for k in range(RUN_NUMBERS):
            c.store(c.single(run, k).spread(), lanes, k * LANES, align=4 * LANES)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def mix_runs(typing_context, runs, which, lanes):
    """The numbers of eight pixels' runs as `spread_run` places them; which  address of their int32 numbers."""
    p = types.uintp
    signature = types.void(p, p, p)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        runs, which, lanes = arguments
        c = Code(builder)
        number = c.load(which, 0, INT)
        at = [c.at(runs, builder.zext(number.lane(k), LONG), 4 * RUN_NUMBERS) for k in range(LANES)]
        for start in range(0, RUN_NUMBERS, LANES):
            for k, column in enumerate(c.transposed([c.load(address, start) for address in at])):
                c.store(column, lanes, (start + k) * LANES, align=4 * LANES)
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def surface_pixels(typing_context, where, lanes, row, pitch, n, depth, u, v, hidden, shadows, absent, begun, room):
    """Eight pixels (n of them there) that see the triangles whose numbers `lanes` has: colours and the sun's share,
    into the scratch at `row`. What is computed for pixels of the sky is of no use, and does no harm.

    depth, u, v  addresses of the first pixel; hidden: of its byte that says whether a mover hides the sun, or 0
    shadows      whether the sun casts any. Numbers of tiles that the sun map lacks go into `missing` (with −1 between
    them), of which `absent` of `room` are taken, `begun` of them by earlier rows; returns how many are taken then.
    """
    p = types.uintp
    signature = types.intp(p, p, p, types.intp, types.intp, p, p, p, p, types.boolean, *[types.intp] * 3)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        where, lanes, row, pitch, n, depth, u, v, hidden, shadows, absent, begun, room = arguments
        c, arrays = Code(builder), _Arrays(builder, where)
        run = _Row(c, arrays, row, pitch)
        taken = c.variable(Term(builder, absent))
        mask = c.ramp() < Term(builder, builder.trunc(n, INT))
        left, up = c.load(run.plane(LEFT)), c.load(run.plane(UP))
        a, b = c.load_some(u, 0, mask), c.load_some(v, 0, mask)
        colours = _Texture(c, arrays, lanes).sampled(a, b)
        cosine = sum_of([w * value for w, value in zip(_numbers(c, lanes, COSINE, 3), (1.0, a, b), strict=True)])
        share = c.variable(c.constant(eight(FLOAT), [0.0] * LANES))
        with builder.if_then((cosine > 0.0).any()):
            share.set(_share(run, lanes, cosine, left, up))
            with builder.if_then(builder.icmp_unsigned("!=", hidden, LONG(0))):
                share.set((c.bytes(hidden) > 0).where(0.0, share.get()))
            t = c.load_some(depth, 0, mask)
            lit = mask & (share.get() > 0.0) & (t < _FAR)
            with builder.if_then(builder.and_(shadows, lit.any())):
                shadow = _Shadow(run, lanes, taken, begun, room)
                share.set(share.get() * shadow.light(t, left, up, lit))
        run.store(0, share.get(), colours)
        return taken.get().value

    return signature, generate


def _numbers(c: Code, lanes: Any, place: int, count: int, kind: Any = FLOAT) -> list[Term]:
    return [c.load(lanes, (place + k) * LANES, kind, align=4 * LANES) for k in range(count)]


class _Texture:
    """Bilinear, repeating, in linear light; v = 1 is the first row."""

    def __init__(self, c: Code, arrays: _Arrays, lanes: Any) -> None:
        self.c, self.builder, self.arrays, self.lanes = c, c.builder, arrays, lanes

    def sampled(self, a: Term, b: Term) -> list[Term]:
        """Red, green and blue at barycentrics (a, b)."""
        c = self.c
        colour = _numbers(c, self.lanes, COLOUR, 3)
        found = [c.variable(k * (1.0 / TEXEL_SCALE)) for k in colour]
        (textured,) = _numbers(c, self.lanes, TEXTURED, 1, INT)
        with self.builder.if_then((textured > 0).any()):
            s, t = (
                start + a * one + b * two
                for start, one, two in (_numbers(c, self.lanes, place, 3) for place in (U0, V0))
            )
            first, width, height = _numbers(c, self.lanes, TEXEL, 3, INT)
            ax, x0, _ = self._neighbours(s - s.floor(), width)
            ay, y0, y1 = self._neighbours(1.0 - (t - t.floor()), height)
            at, pitch = first + x0, width + 1
            corners = [texel for y in (y0, y1) for texel in c.pairs(self.arrays.texels, at + y * pitch, INT)]
            wb, wc, wd = ax * (1.0 - ay), (1.0 - ax) * ay, ax * ay
            weights = [1.0 - wb - wc - wd, wb, wc, wd]
            for k, variable in enumerate(found):
                roots = [((texel >> (CODE_BITS * k)) & ((1 << CODE_BITS) - 1)).real() for texel in corners]
                variable.set(sum_of([w * (root * root) for w, root in zip(weights, roots, strict=True)]) * colour[k])
        return [variable.get() for variable in found]

    def _neighbours(self, share: Term, size: Term) -> tuple[Term, Term, Term]:
        """How far a place is past the first of its two neighbouring texels, and both (they repeat)."""
        place = (share.greatest(0.0).least(1.0) * size.real()) - 0.5
        first = place.floor()
        one = first.integer()  # −1 … size: rounding can reach the border
        two = one + 1
        return place - first, (one < 0).where(size - 1, one.least(size - 1)), (two < size).where(two, 0)


def _share(run: _Row, lanes: Any, cosine: Term, left: Term, up: Term) -> Term:
    """The sun's share (its cosine times the diffuse lobe of `surfaces`) before shadow."""
    n0, n1, n2 = _numbers(run.c, lanes, FACING, 3)
    to_sun = [run.number(TO_SUN + k) for k in range(3)]
    s0, s1, s2 = (run.dot(AXES + 3 * k, to_sun) for k in range(3))
    c = cosine.greatest(0.0)
    inverse = 1.0 / (left * left + up * up + 1.0).sqrt()
    facing = (n0 + left * n1 + up * n2) * inverse * -1.0  # front faces only: positive
    towards = (s0 + left * s1 + up * s2) * inverse
    k = (1.5 - towards) * ROUGHNESS - 1.0  # 2(v·h)² = 1 + v·l, and v is against the ray
    one, two = 1.0 - c, 1.0 - facing
    one2, two2 = one * one, two * two
    return c * (1.0 + k * (one2 * one2 * one)) * (1.0 + k * (two2 * two2 * two))


class _Shadow:
    """How much of the sun static things leave, by `SunMap`.

    Places are counted from the camera's texel, so that float32 is exact enough anywhere in a city.
    """

    def __init__(self, run: _Row, lanes: Any, taken: Any, begun: Any, room: Any) -> None:
        self.run, self.c, self.builder, self.arrays = run, run.c, run.builder, run.arrays
        self.lanes, self.taken, self.begun, self.room = lanes, taken, begun, room

    def light(self, t: Term, left: Term, up: Term, lit: Term) -> Term:
        """The share that is left at depth t, where `lit`; tiles that are not there shade nothing and are noted."""
        c, run = self.c, self.run
        past_a, past_b, per_metre = _numbers(c, self.lanes, LEVEL + PAST_A, 3)
        to_column, to_line, across, along, number = _numbers(c, self.lanes, LEVEL + COLUMN, 5, INT)
        step_a, step_b = _numbers(c, self.lanes, STEP_A, 2)
        metres = [
            t
            * (run.number(TURNED + 3 * k) + left * run.number(TURNED + 3 * k + 1) + up * run.number(TURNED + 3 * k + 2))
            for k in range(3)
        ]
        a, b = past_a + metres[0] * per_metre, past_b + metres[1] * per_metre
        fa, fb = a.floor(), b.floor()
        wa, wb = a - fa, b - fb
        column, line = (f.greatest(-1e9).least(1e9).integer() + start for f, start in ((fa, to_column), (fb, to_line)))
        # Division by CELLS in floats: exact, because half a cell is added and 2^22 cells are more than a map has.
        tx, ty = ((f.real() + 0.5) * (1.0 / CELLS) for f in (column, line))
        tx, ty = tx.floor().greatest(-1.0).least(1e9).integer(), ty.floor().greatest(-1.0).least(1e9).integer()
        inside = lit & (tx >= 0) & (ty >= 0) & (tx < across) & (ty < along)
        tile = inside.where(number + ty * across + tx, 0)
        held = self._held(tile)
        lacking = inside & (held < 0)
        with self.builder.if_then(lacking.any()):
            self._note(lacking.where(tile, -1))
        there = inside & (held >= 0)
        at = there.where(held * PIXELS + (line - ty * CELLS) * TILE + (column - tx * CELLS), 0)
        low = run.number(HEIGHT) + metres[2] + BIAS - wa * step_a - wb * step_b
        heights = [h for k in (0, TILE) for h in c.pairs(c.at(self.arrays.heights, k, 4), at)]
        grounds = low, low + step_a, low + step_b, low + step_a + step_b
        free = [height <= ground for height, ground in zip(heights, grounds, strict=True)]
        weights = [(1.0 - wa) * (1.0 - wb), wa * (1.0 - wb), (1.0 - wa) * wb, wa * wb]
        part = sum_of([f.where(w, 0.0) for f, w in zip(free, weights, strict=True)])
        whole = free[0] & free[1] & free[2] & free[3]
        return there.where(whole.where(1.0, part), 1.0)

    def _held(self, tile: Term) -> Term:
        """Where the tiles are kept; neighbouring pixels mostly look at one."""
        first = Term(self.builder, tile.lane(0))
        held = self.c.variable(self.c.constant(eight(INT), [0] * LANES))
        several = Term(self.builder, self.builder.icmp_signed("!=", tile.value, first.spread().value)).any()
        with self.builder.if_else(several) as (yes, no):
            with yes:
                held.set(self.c.gather(self.arrays.place, tile, INT))
            with no:
                place = self.builder.zext(first.value, LONG)
                held.set(self.c.single(self.arrays.place, place, INT).spread())
        return held.get()

    def _note(self, tiles: Term) -> None:
        """Numbers of tiles that are not there, unless the same were this row's last."""
        c, builder = self.c, self.builder
        taken = self.taken.get().value
        new = c.variable(Term(builder, ir.Constant(ir.IntType(1), 1)))
        with builder.if_then(builder.icmp_signed(">", taken, self.begun)):
            last = c.load(self.arrays.missing, builder.sub(taken, LONG(LANES)), INT)
            new.set(Term(builder, Term(builder, builder.icmp_signed("!=", last.value, tiles.value)).any()))
        fits = builder.icmp_signed("<=", builder.add(taken, LONG(LANES)), self.room)
        with builder.if_then(builder.and_(new.get().value, fits)):
            c.store(tiles, self.arrays.missing, taken)
            self.taken.set(Term(builder, builder.add(taken, LONG(LANES))))


@intrinsic
def encode_row(typing_context, where, row, pitch, n, rgb):
    """A whole row of n (a multiple of 8) pixels to sRGB bytes at `rgb`: albedo times ambient light and the sun's share,
    or a colour as it is where the share is negative. No light is negative."""
    signature = types.void(types.uintp, types.uintp, types.intp, types.intp, types.uintp)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        where, row, pitch, n, rgb = arguments
        c = Code(builder)
        run = _Row(c, _Arrays(builder, where), row, pitch)
        ambient, sun = ([run.number(place + k) for k in range(3)] for place in (AMBIENT, SUN_LIGHT))
        with c.steps(n) as i:
            share = c.load(run.plane(SHARE), i)
            itself = share < 0.0
            codes = []
            for k in range(3):
                light = itself.where(1.0, ambient[k] + share * sun[k])
                step = (c.load(run.plane(RED + k), i) * light).least(1.0).greatest(0.0) * float(ENCODE_STEPS) + 0.5
                codes.append(c.gather(run.arrays.encode, step.integer(), BYTE).value)
            first = builder.shuffle_vector(codes[0], codes[1], ir.Constant(ir.VectorType(INT, 16), list(range(16))))
            third = builder.shuffle_vector(codes[2], codes[2], ir.Constant(ir.VectorType(INT, 16), list(range(16))))
            order = [[p, LANES + p, 2 * LANES + p] for p in range(LANES)]
            mixed = ir.Constant(ir.VectorType(INT, 3 * LANES), [k for pixel in order for k in pixel])
            pixels = builder.shuffle_vector(first, third, mixed)
            pointer = builder.inttoptr(builder.add(rgb, builder.mul(i, LONG(3))), pixels.type.as_pointer())
            builder.store(pixels, pointer).align = 1
        return context.get_dummy_value()

    return signature, generate
