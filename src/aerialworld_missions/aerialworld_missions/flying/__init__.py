"""Flying a plan over MAVLink: ArduPilot drones and rovers, simulated, embedded or real (docs/missions_flying.md).

links      sockets and serial lines, by an address like tcp:127.0.0.1:5760
station    a thread that reads and writes one of them, for all its vehicles
telemetry  what a vehicle has told; clock: its own time
vehicle    what is asked of it, and the waits for what it does
upload     the mission protocol; items: a plan's waypoints as mission items
follow     a plan streamed as setpoints
guard      what ends a mission; outcomes: how it may end
mission    the story from the first heartbeat to the last
"""
