"""Physics for a real ArduPilot: bodies moved by motor outputs, and the JSON protocol through which SITL flies them."""
