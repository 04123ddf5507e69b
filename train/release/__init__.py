"""A trained network becomes a bundle: conversion, quantisation, the gate, the card."""
