"""Networks: blocks, U-Net, encoders. They know nothing of files, losses or noise schedules."""
