"""What the operating system of a kiosk needs: device profiles, and later units and rules."""
