"""Networks: blocks, U-Net, encoders. They know nothing of files, devices, losses or noise schedules."""
