# Counts at a steady pace, a line for each number, until it has said them all.
import sys, time

most, pace = int(sys.argv[1]), float(sys.argv[2])
for number in range(most):
    print(number, flush=True)
    time.sleep(pace)
