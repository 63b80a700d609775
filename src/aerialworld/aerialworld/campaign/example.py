"""The campaign file that `aerialworld generate --example` prints."""

EXAMPLE = """\
# A campaign: what `aerialworld generate` makes. Only `worlds` is needed; the values below are the defaults, unless a
# line says that it is an example. Numbers in brackets are ranges: every session draws its own from them.

# name: Roppongi by drone and rover     # title of the data set's card (example)

# World folders, relative to this file. A PLATEAU data set (folder, zip, .gml, OBJ release) is converted first.
worlds:
  - worlds/roppongi
  # - path: data/13100_tokyo23-ku_2022_citygml_1_3_op.zip       # example: one mesh of a whole city
  #   name: haneda
  #   convert: {mesh: [53392633]}       # also bbox, around with radius, lod, crs, modules; see `city convert --help`
  #   region: [-200, -200, 200, 200]    # where sessions may go: west, south, east, north, metres from map's origin;
  #                                     # default: the built part and 25 m around it
  #   split: test                       # the whole world is for this part of the data set

sessions: 10          # in all, dealt evenly; left out: one for every world x mission x condition x seed
frames: 100           # per session; or  duration: 50  in seconds
frame_rate: 2.0       # frames per second of simulated time

missions:
  - pattern: survey         # a drone flies lanes over a square
    name: survey            # the pattern, unless two missions share it
    count: 1                # how often, compared with the other missions
    near_buildings: 0.5     # least share of the time with a building within 30 m; 0: anywhere
    # vehicle: drone_1      # its name in topics and files
    # rig: rig_drone        # a shipped rig or your own SDF file; also for all missions, below
    size: [40, 120]         # edge of the square, m
    spacing: [10, 20]       # between lanes, m
    altitude: [20, 60]      # over the ground, m; higher where buildings stand
    speed: [3, 7]           # m/s
    heading: [0, 360]       # of the first lane, degrees, 0 = east
    clearance: 5            # kept from buildings, m
    altitude_frame: ground  # or home: level, over the ground of the start
    avoid: raise            # over buildings in the way; or refuse (corridor, random and waypoints: bend as well)
  - pattern: orbit          # a drone circles
    radius: [20, 50]
    altitude: [20, 60]
    speed: [3, 7]
    near_buildings: 0.5
    look: either            # path (ahead), centre, or either
    direction: either       # left, right, or either
    clearance: 5
  - pattern: road           # a rover drives roads and open ground
    size: [60, 150]
    speed: [2, 4]
    near_buildings: 0.5
    clearance: 2
# - pattern: figure8          # two circles that touch: radius [15, 40] m, heading [0, 360]
# - pattern: corridor         # a line that bends at random: length [100, 250] m, bend [0, 60] degrees per leg
# - pattern: random           # to random places, up and down: size [80, 150] m, vary 0.25 of the altitude
# - pattern: waypoints        # a shape of your own at drawn places and headings: points, metres forward and left
#   points: [[0, 0], [60, 0], [60, 40, 50]]     # the third number: its own altitude
#   heading: [0, 360]
# - pattern: roads            # a rover on the lanes of the city's roads: size [150, 400] m
# - pattern: patrol           # a rover's round of four drawn posts: size [60, 150] m

# rig: rig_small            # for all missions (example). Default: rig_drone for drones, rig_rover for rovers
conditions:
  - weather: clear          # the sun is the one of the world's own world.sdf
# - local_time: "07:30"     # or the sun of a time of day at the world's place (and of a date: "2024-04-01")
#   weather: rain           # clear, overcast, haze, fog or rain; visibility_m, rain_mm_h, cloud_cover, exposure
# - seed: 3                 # or drawn for every session
#   randomise: {local_time: ["06:00", "18:00"], weather: [clear, clear, overcast, fog, rain], rain_mm_h: [1, 30]}
# traffic:                  # example: vehicles and pedestrians on the world's roads, in every session its own
#   cars: 20/km             # how many, or per kilometre of lane
#   pedestrians: 20/km      # how many, or per kilometre of footway
#   parked: 0.3             # share of the cars that stand at the roadside
#   emergencies: 6          # full brakings per driving car and hour
seeds: [0]
redraws: 30                 # how often a mission's numbers are drawn anew where they cannot be flown

modalities: [images, depth, lidar, imu]
grid:
  range: [-40, -40, -2, 40, 40, 150]    # metres around the vehicle; z above the session's lowest ground
  voxel_size: [0.4, 0.4, 1.25]

split:                      # shares of the sessions
  by: place                 # each world is cut into places that share no voxel; or  world
  train: 0.8
  val: 0.1
  test: 0.1

validate: true              # check every session's content when it is made
truth_frames: 2             # of each session, compared with the world's surface (recall, precision)
# license: cc-by-4.0        # for the card. Default: CC BY 4.0 where all data is PLATEAU's
"""
